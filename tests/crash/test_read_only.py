"""A run directory that cannot be written: it is read all the same, a search says so, and goes on when it can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_keras.search.run import Run
from lth_keras.search.tasks import Task, pending_tasks
from lth_keras.storage import RunDirectory, open_run
from lth_keras.training.network import Network
from tests.tiny import ALL, Witness, assert_same_bits, make

TASKS = pending_tasks((), [0], ALL, 2)
pytestmark = pytest.mark.usefixtures("bound_by_permissions")


@pytest.fixture(scope="module")
def network() -> Network:
    return make().network


@pytest.fixture(scope="module")
def whole(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(network).run(branches=ALL, out=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def frozen() -> Iterator[list[Path]]:
    """Directories to make writable again in the end, for who cleans up."""
    directories: list[Path] = []
    yield directories
    for directory in directories:
        directory.chmod(0o700)


def freeze(directory: Path, frozen: list[Path]) -> None:
    for path in [directory, *(path for path in directory.rglob("*") if path.is_dir())]:
        path.chmod(0o500)
        frozen.append(path)


def test_a_finished_run_is_read_where_nothing_can_be_written(whole: Run, frozen: list[Path]) -> None:
    freeze(whole.directory.path.parent, frozen)
    loaded = RunDirectory.load(whole.directory.path)
    assert loaded.finished() == set(TASKS) and all(loaded.read(*task) for task in TASKS)
    assert_same_bits(open_run(loaded.path), whole)
    assert whole.ticket(trial=0, level=2).layers


def test_a_run_that_became_read_only_is_named_and_goes_on_when_it_can(
    network: Network, whole: Run, tmp_path: Path, frozen: list[Path]
) -> None:
    out, first, second = tmp_path / "out", Witness("finished", TASKS[2]), Witness()
    with pytest.raises(KeyboardInterrupt):
        make(network).run(branches=ALL, out=out, reporter=first)
    freeze(out, frozen)
    (directory,) = out.iterdir()
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    message = (
        rf"Expected: an output directory that can be written. Received: out={re.escape(repr(str(out)))} .Permission"
    )
    with pytest.raises(PermissionError, match=f"{message} denied.; choose another with --out"):
        make(network).run(branches=ALL, out=out, reporter=second)
    assert not second.events
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    for path in frozen:
        path.chmod(0o700)
    resumed = make(network).run(branches=ALL, out=out, reporter=second)
    assert second.tasks("started") == TASKS[3:]
    assert_same_bits(resumed, whole)


@pytest.mark.slow
def test_a_run_that_becomes_read_only_under_way_loses_the_level_in_training(
    network: Network, whole: Run, tmp_path: Path, frozen: list[Path]
) -> None:
    class Freezing(Witness):
        def _hear(self, kind: str, task: Task) -> None:
            super()._hear(kind, task)
            if (kind, task) == ("started", TASKS[2]):
                freeze(tmp_path / "out", frozen)

    first, second = Freezing(), Witness()
    message = r"Expected: a disk that takes this file. Received: Permission denied; make it writable, then run the same"
    with pytest.raises(PermissionError, match=message) as error:
        make(network).run(branches=ALL, out=tmp_path / "out", reporter=first)
    assert str(tmp_path / "out") in error.value.filename
    assert first.tasks("finished") == TASKS[:2]
    for path in frozen:
        path.chmod(0o700)
    resumed = make(network).run(branches=ALL, out=tmp_path / "out", reporter=second)
    assert second.tasks("started") == TASKS[2:]
    assert_same_bits(resumed, whole)
