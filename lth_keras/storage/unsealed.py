"""Files without a checksum, as lth_keras 0.1 wrote them. Another process reads them first, with a time limit.

The HDF5 library hangs or crashes on some damaged files. This way only the other process is affected.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path

from lth_keras.storage import checksum

START_SECONDS = 120.0
"""Time limit to start the other process, which imports h5py."""
FILE_SECONDS = 20.0
"""Time limit to read a small file."""
BYTES_PER_SECOND = 5e6
"""Least speed of reading a large file."""

_Key = tuple[str, int, int, int, int]
_verdicts: dict[_Key, str | None] = {}
_said: set[Path] = set()


class NotExaminedError(RuntimeError):
    """A file without a checksum could not be checked. The file may be intact."""


def check(path: str | os.PathLike[str]) -> None:
    """Checks a file without a checksum; see `prepare`.

    Raises:
        ValueError: It cannot be read.
        NotExaminedError: No process could be started, or the file was replaced meanwhile.
    """
    prepare([path])
    key = _key(path)
    if key not in _verdicts:
        raise NotExaminedError(
            f"Expected: a file that does not change while it is checked. Received: {os.fspath(path)!r}, which another "
            "process has replaced; try again"
        )
    verdict = _verdicts[key]
    if verdict is not None:
        raise ValueError(verdict)


def prepare(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Has one other process read those files that have no checksum, for `check`. Absent files are ignored.

    Verdicts are cached until the file changes. A warning is given once for each directory with such files.
    """
    pending: dict[str, tuple[_Key, int]] = {}
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            key = _key(path)
            if key not in _verdicts and checksum.is_without(file):
                pending[os.path.abspath(path)] = key, os.fstat(file.fileno()).st_size
    if not pending:
        return
    directory = _directory(Path(next(iter(pending))))
    if directory not in _said:
        _said.add(directory)
        warnings.warn(
            f"{directory}: files without a checksum, as lth_keras 0.1 wrote them. Another process reads them first; "
            "changed numbers may go unnoticed.",
            stacklevel=3,
        )
    while pending:
        for path, verdict in _verdicts_of({path: size for path, (_, size) in pending.items()}):
            key, _ = pending.pop(path)
            _verdicts[key] = verdict


def _verdicts_of(sizes: dict[str, int]) -> list[tuple[str, str | None]]:
    """Verdicts on the files that one process reads in order, up to the first that ends it."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("probe.py"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_PERTURB_": "165"}
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            encoding="utf-8",
        )
    except OSError as error:
        raise _no_process(command, str(error)) from error
    with started as process:
        try:
            lines = _lines(process)
            threading.Thread(target=_send, args=(process, list(sizes)), daemon=True).start()
            if not _next(lines, START_SECONDS):
                raise _no_process(command, f"none within {START_SECONDS:g} s")
            verdicts: list[tuple[str, str | None]] = []
            for path, size in sizes.items():
                limit = FILE_SECONDS + size / BYTES_PER_SECOND
                line = _next(lines, limit)
                if line:
                    verdicts.append((path, json.loads(line)))
                    continue
                how = f"hangs for {limit:.0f} s" if line is None else "crashes"
                return [*verdicts, (path, f"reading it {how} in a process of its own")]
            return verdicts
        finally:
            process.kill()


def _no_process(command: list[str], reason: str) -> NotExaminedError:
    return NotExaminedError(
        f"Expected: a process that reads files without a checksum. Received: {reason}, from {' '.join(command)!r}; "
        "run the command by hand. The files are unchanged"
    )


def _send(process: subprocess.Popen[str], paths: list[str]) -> None:
    """Sends the paths to the process; in a thread, since a process that hangs does not read."""
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # it has ended; its output shows that
        json.dump(paths, process.stdin)
        process.stdin.close()


def _lines(process: subprocess.Popen[str]) -> queue.Queue[str]:
    """Its output, line by line; an empty line at its end."""
    lines: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=listen, daemon=True).start()
    return lines


def _next(lines: queue.Queue[str], seconds: float) -> str | None:
    """The next line, empty at the end; None after this many seconds."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None


def _key(path: str | os.PathLike[str]) -> _Key:
    status = os.stat(path)
    return os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _directory(path: Path) -> Path:
    """The run's directory for a level file in its place; otherwise the file's directory."""
    parents = path.parents
    return parents[3] if len(parents) > 3 and parents[2].name == "levels" else path.parent
