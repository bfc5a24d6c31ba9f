"""A disk that is full at any call: a clear error, nothing lost, and a resume with the same bits."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from lth_keras.search.run import Run
from lth_keras.search.tasks import Task, pending_tasks
from lth_keras.storage import atomic, open_run
from lth_keras.training.network import Network
from tests.forks import Forks
from tests.tiny import ALL, Witness, assert_same_bits, make

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> Network:
    return make().network


@pytest.fixture(scope="module")
def whole(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make(network).run(branches=ALL, out=tmp_path_factory.mktemp("whole"))


class Disk:
    """Takes so many calls that need space, then none until it is given some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
        self.calls = calls
        chunks = atomic.chunks

        def full_chunks(content: memoryview) -> Iterator[memoryview]:
            for chunk in chunks(content):
                self.take()
                yield chunk

        monkeypatch.setattr(atomic, "chunks", full_chunks)
        creates = {"open": lambda path, flags, *mode: flags & os.O_CREAT}
        for name in ("open", "mkdir", "fsync", "replace"):
            monkeypatch.setattr(os, name, self._limited(getattr(os, name), creates.get(name, lambda *_: True)))

    def take(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _limited(self, function: Callable[..., Any], needs_space: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if needs_space(*arguments):
                self.take()
            return function(*arguments, **options)

        return call


def test_a_disk_that_is_full_at_any_call_loses_nothing(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call of a search of two levels, each once the first to find the disk full."""
    tasks = pending_tasks((), [0], ("winning_ticket",), 1)
    search = make(network, levels=1, config={"name": "full"})
    expected = search.run(out=tmp_path / "expected")
    calls, reached = 0, set()
    while True:
        out, first, second = tmp_path / str(calls), Witness(), Witness()
        with monkeypatch.context() as patch:
            Disk(patch, calls)
            try:
                search.run(out=out, reporter=first)
                break  # the disk was large enough
            except OSError as error:
                assert error.errno == errno.ENOSPC and str(out) in str(error.filename)
                assert re.search(r"Expected: .* Received: .*No space left on device.*; (free|choose)", str(error))
        finished = first.tasks("finished")
        assert finished == tasks[: len(finished)]
        names = sorted(path.name for path in out.rglob("*") if path.is_file())
        assert names == sorted(
            [f"level_{task.level:02d}.h5" for task in finished] + [n for n in names if n in ("config.json", "run.h5")]
        )
        resumed = search.run(out=out, reporter=second)
        assert second.tasks("started") == tasks[len(finished) :]
        assert_same_bits(resumed, expected)
        calls += 1
        reached.add(len(finished))
    assert reached == {0, 1, 2}


def _skip_others(forks: Forks) -> None:
    if forks.backend != keras.backend.backend():
        pytest.skip("what is written is compared with what this process's backend writes")


def test_files_that_the_system_cuts_short_lose_nothing(
    forks: Forks, network: Network, whole: Run, tmp_path: Path
) -> None:
    """Refused by the kernel in the middle of a write, as on a full disk."""
    _skip_others(forks)
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN, "a signal would end the process instead"
    tasks, finished = pending_tasks((), [0], ALL, 2), 4
    ended = forks.call("tests.crash.disk:search_with_small_files", out=tmp_path, after=finished, size=5000)
    assert [Task(*task) for task in ended.value[0]] == tasks[:finished]
    assert re.fullmatch(
        r"\[Errno \d+\] Expected: .* Received: File too large; raise the limit .*, then run the same command again: .*"
        rf"{re.escape(str(tmp_path))}/.*\.h5'",
        ended.value[1],
    )
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    witness = Witness()
    resumed = make(network).run(branches=ALL, out=tmp_path, reporter=witness)
    assert witness.tasks("started") == tasks[finished:]
    assert_same_bits(resumed, whole)


def test_a_disk_that_really_fills_up_loses_nothing(forks: Forks, whole: Run, tmp_path: Path) -> None:
    """Room for some of seven levels."""
    _skip_others(forks)
    level = max(path.stat().st_size for path in whole.directory.path.rglob("level_*"))
    (mounted := tmp_path / "mounted").mkdir()
    pages = -(-level // resource.getpagesize()) + 2
    ended = forks.call(
        "tests.crash.disk:search_on_a_small_disk",
        mounted=mounted,
        copied=tmp_path / "copied",
        size=pages * 4 * resource.getpagesize(),
    )
    assert ended.error is None
    if "impossible" in ended.value:
        pytest.skip(f"no disk can be mounted here: {ended.value['impossible']}")
    tasks = pending_tasks((), [0], ALL, 2)
    finished = len(ended.value["finished"])
    assert 1 < finished < len(tasks)
    assert re.search(r"No space left on device; free space on that disk, then run the same", ended.value["error"])
    assert str(mounted) in ended.value["error"]
    assert len([name for name in ended.value["files"] if "level_" in name]) == finished
    assert not [name for name in ended.value["files"] if name.endswith((".tmp", ".lock"))]
    assert [Task(*task) for task in ended.value["resumed"]] == tasks[finished:]
    (directory,) = (tmp_path / "copied").iterdir()
    assert_same_bits(open_run(directory), whole)
    shutil.rmtree(directory)
