"""Files that were changed or cut after they were written: named, never taken for results, and made anew."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lth_keras.search.run import Run
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import pending_tasks
from lth_keras.storage import DamagedFile, RunDirectory, open_run, read_level
from lth_keras.storage.levels import summarise_level
from lth_keras.training.network import Network
from tests.few import few
from tests.tiny import Witness, assert_same_bits, make

BRANCHES = ("winning_ticket", "random_mask")
TASKS = pending_tasks((), [0], BRANCHES, 1)
SHARES = st.floats(0, 1, exclude_max=True)
"""Of a file's bytes that are left."""
some = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(some, max_examples=100)


@pytest.fixture(scope="module")
def search() -> TicketSearch:
    network: Network = make().network
    return make(network, levels=1, config={"name": "damage"})


@pytest.fixture(scope="module")
def whole(search: TicketSearch, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search.run(branches=BRANCHES, out=tmp_path_factory.mktemp("whole"))


@pytest.fixture
def copy(whole: Run, tmp_path: Path) -> Path:
    """The run's directory, to be damaged."""
    return Path(shutil.copytree(whole.directory.path, tmp_path / whole.directory.path.name))


def cut(path: Path, content: bytes, share: float) -> None:
    path.write_bytes(content[: int(share * len(content))])


@many
@given(share=SHARES)
def test_a_level_cut_at_any_byte_is_no_level(whole: Run, copy: Path, share: float) -> None:
    path = RunDirectory.load(copy).level_path(0, "winning_ticket", 1)
    cut(path, whole.directory.level_path(0, "winning_ticket", 1).read_bytes(), share)
    for look in (read_level, summarise_level):
        with pytest.raises(
            DamagedFile, match=rf"Expected: a level file.*Received: '{re.escape(str(path))}', truncated"
        ):
            look(path)


@some
@given(share=SHARES, number=st.sampled_from(range(len(TASKS))))
def test_a_level_cut_at_any_byte_is_set_aside_and_trained_again(
    search: TicketSearch, whole: Run, copy: Path, share: float, number: int
) -> None:
    task = TASKS[number]
    path = RunDirectory.load(copy).level_path(*task)
    others = {other: other.read_bytes() for other in copy.rglob("level_*.h5") if other != path}
    cut(path, whole.directory.level_path(*task).read_bytes(), share)
    damaged, witness = path.read_bytes(), Witness()
    with pytest.warns(UserWarning, match=rf"{re.escape(str(path))}.*Renamed to .*; the level is trained again"):
        again = search.run(branches=BRANCHES, out=copy.parent, reporter=witness)
    assert witness.tasks("started") == [task]
    assert {other: other.read_bytes() for other in others} == others
    (aside,) = copy.rglob("*.damaged")
    assert aside.read_bytes() == damaged
    assert_same_bits(again, whole)
    aside.unlink()


@many
@given(share=SHARES)
def test_a_run_file_cut_at_any_byte_is_a_clear_error(whole: Run, copy: Path, share: float) -> None:
    cut(copy / "run.h5", (whole.directory.path / "run.h5").read_bytes(), share)
    message = (
        rf"Expected: a run file.*Received: '{re.escape(str(copy / 'run.h5'))}', truncated.*command that made the run"
    )
    with pytest.raises(DamagedFile, match=f"(?s){message}"):
        open_run(copy)


@some
@given(share=SHARES)
def test_a_run_file_cut_at_any_byte_is_made_anew_from_the_levels(
    search: TicketSearch, whole: Run, copy: Path, share: float
) -> None:
    cut(copy / "run.h5", (whole.directory.path / "run.h5").read_bytes(), share)
    witness = Witness()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = search.run(branches=BRANCHES, out=copy.parent, reporter=witness)
    assert not witness.events
    assert_same_bits(again, whole)


@few(
    ("change", "message"),
    [
        ({"config": {"name": "other"}}, "name='other', expected 'damage'"),
        ({"config": {}}, "name missing, expected 'damage'"),
        ({"config": {"name": "damage", "steps": 7}}, "steps=7 unexpected"),
        ({"experiment": "other"}, "experiment='other', expected 'search'"),
        ({"threads": 3}, "made with 3 threads?, received|changed after it was written"),
    ],
    ({"config": {"name": "other"}}, "name='other', expected 'damage'"),
    ids=str,
)
def test_a_record_changed_by_hand_is_refused_until_it_is_changed_back(
    search: TicketSearch, whole: Run, copy: Path, change: dict[str, Any], message: str
) -> None:
    path, witness = copy / "config.json", Witness()
    text = path.read_text()
    path.write_text(json.dumps({**json.loads(text), **change}))
    (copy / "levels/seed_0/random_mask/level_01.h5").unlink()  # so there is something to train
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=message) as error:
        search.run(branches=BRANCHES, out=copy.parent, reporter=witness)
    assert str(copy) in str(error.value) and not witness.events
    assert {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()} == before
    path.write_text(text)
    again = search.run(branches=BRANCHES, out=copy.parent, reporter=witness)
    assert witness.tasks("started") == TASKS[-1:]
    assert_same_bits(again, whole)
