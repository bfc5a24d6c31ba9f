"""The lock on a run directory: one process writes, anyone reads, and the dead hold nothing."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lth_keras.storage import InUseError, RunDirectory, lock, open_run
from lth_keras.storage.lock import LOCK_FILE
from tests.synthetic import level_result

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from lth_keras.storage import RunDirectory
with RunDirectory.open(sys.argv[1], "digits", {}).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def opened(out: Path) -> RunDirectory:
    return RunDirectory.open(out, "digits", {})


@contextmanager
def another_process(out: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock within it."""
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    run = opened(tmp_path)
    leftover = run.path / ".run.h5.1-abcdef01.tmp"
    with another_process(tmp_path) as holder:
        leftover.touch()  # it may be writing right now
        who = rf"process {holder.pid} on {re.escape(socket.gethostname())} since \d{{4}}-.*"
        for _ in range(2):  # a refusal leaves the lock as it is
            with (
                pytest.raises(InUseError, match=rf"{re.escape(str(run.path))}', in use by {who}wait .*--out"),
                opened(tmp_path).locked(),
            ):
                pass
        assert leftover.exists()
    with opened(tmp_path).locked():
        assert not leftover.exists()


@pytest.mark.slow
def test_reading_needs_no_lock(tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.write(level_result(0, level=0))
    run.write_run()
    with another_process(tmp_path):
        assert RunDirectory.load(run.path).finished() == opened(tmp_path).finished() == {(0, "dense", 0)}
        assert run.read(0, "dense", 0) and open_run(run.path).sizes["level"] == 1


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    with another_process(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        (left,) = tmp_path.rglob(LOCK_FILE)
        assert f'"pid": {holder.pid}' in left.read_text()
    with opened(tmp_path).locked():
        assert f'"pid": {os.getpid()}' in left.read_text()
        assert left.read_text().count("pid") == 1


def test_a_process_holds_it_once_and_lets_it_go(tmp_path: Path) -> None:
    """Also where it is interrupted, and for another search in the same process."""
    run = opened(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.locked():
        with pytest.raises(InUseError, match=f"process {os.getpid()} on"), opened(tmp_path).locked():
            pass
        raise KeyboardInterrupt
    assert not (run.path / LOCK_FILE).exists()
    with run.locked():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="other locks than those of Windows")
def test_a_lock_that_is_removed_before_it_is_held_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder ends, and removes it, after it was opened: what is locked then is no longer the directory's."""
    import fcntl

    take = fcntl.flock
    others = [True, True, False]

    def slow(descriptor: int, operation: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and others.pop(0):
            (tmp_path / LOCK_FILE).unlink()
        take(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with lock.held(tmp_path):
        assert not others
        monkeypatch.undo()
        with pytest.raises(InUseError), lock.held(tmp_path):
            pass


def test_a_lock_that_is_removed_as_it_is_opened_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder ends before it is known to be a regular file: it has no name then, and is no link."""
    look = os.fstat
    others = [True]

    def slow(descriptor: int) -> os.stat_result:
        if stat.S_ISREG(look(descriptor).st_mode) and others:
            others.pop()
            (tmp_path / LOCK_FILE).unlink()
        return look(descriptor)

    monkeypatch.setattr(os, "fstat", slow)
    with lock.held(tmp_path):
        assert not others and (tmp_path / LOCK_FILE).exists()


def test_who_holds_it_need_not_be_known(tmp_path: Path) -> None:
    """The moment before it is written, or a disk so full that it could not be."""
    with lock.held(tmp_path):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(InUseError, match="in use by another process; wait"), lock.held(tmp_path):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="other locks than those of Windows")
def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with (
        pytest.warns(UserWarning, match="no locks .No locks available.*only one search"),
        lock.held(tmp_path),
    ):
        pass


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"), lock.held(tmp_path / "none"):
        pass


def test_two_that_make_a_directory_at_a_time_make_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other is faster, between this one's look and its lock."""
    held, others = lock.held, []

    @contextmanager
    def late(path: Path) -> Iterator[None]:
        monkeypatch.undo()
        others.append(RunDirectory.open(tmp_path, "digits", {}, threads=2))
        with held(path):
            yield

    monkeypatch.setattr(lock, "held", late)
    with pytest.raises(ValueError, match="made with 2 threads, received 1"):
        RunDirectory.open(tmp_path, "digits", {}, threads=1)
    assert RunDirectory.load(others[0].path).threads == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no open file")
def test_removing_it_by_hand_lets_nobody_in(tmp_path: Path) -> None:
    with another_process(tmp_path):
        (left,) = tmp_path.rglob(LOCK_FILE)
        left.unlink()
        with pytest.raises(InUseError, match="in use by another process; wait"), opened(tmp_path).locked():
            pass
        assert not left.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of other systems")
@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "folder"])
def test_what_is_in_its_place_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    precious, path = tmp_path / "precious", tmp_path / "run" / LOCK_FILE
    precious.write_text("precious")
    path.parent.mkdir()
    make = {
        "link": lambda: path.symlink_to(precious),
        "dangling": lambda: path.symlink_to(tmp_path / "none"),
        "hard link": lambda: path.hardlink_to(precious),
        "pipe": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
    }
    make[kind]()
    with pytest.raises(OSError, match="a link or something else; remove it"), lock.held(path.parent):
        pass
    assert precious.read_text() == "precious" and not (tmp_path / "none").exists()
    assert path.is_symlink() or path.exists()
