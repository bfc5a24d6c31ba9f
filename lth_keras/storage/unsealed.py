"""Files without a checksum, as lth_keras 0.1 wrote them. Another process reads them first, with a time limit.

The HDF5 library hangs or crashes on some damaged files. This way only the other process is affected.
"""

from __future__ import annotations

import contextlib
import itertools
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

START_SECONDS = 120.0  # time limit to start the other process, which imports h5py
FILE_SECONDS = 20.0  # time limit to read a small file
BYTES_PER_SECOND = 5e6  # least speed of reading a large file

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
    pending: list[_Key] = []
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            key = _key(path)
            if key not in _verdicts and key not in pending and checksum.is_without(file):
                pending.append(key)
    if not pending:
        return
    first = Path(pending[0][0])
    in_run = len(first.parents) > 3 and first.parents[2].name == "levels"
    directory = first.parents[3] if in_run else first.parent
    if directory not in _said:
        _said.add(directory)
        warnings.warn(
            f"{directory}: files without a checksum, as lth_keras 0.1 wrote them. Another process reads them first; "
            "changed numbers may go unnoticed.",
            stacklevel=3,
        )
    while pending:
        for verdict in _verdicts_of(pending):
            _verdicts[pending.pop(0)] = verdict


def _verdicts_of(files: list[_Key]) -> list[str | None]:
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
            lines: queue.Queue[str] = queue.Queue()
            for task in (lambda: _send(process, [path for path, *_ in files]), lambda: _listen(process, lines)):
                threading.Thread(target=task, daemon=True).start()
            if not _next(lines, START_SECONDS):
                raise _no_process(command, f"none within {START_SECONDS:g} s")
            verdicts: list[str | None] = []
            for _, _, size, *_ in files:
                limit = FILE_SECONDS + size / BYTES_PER_SECOND
                line = _next(lines, limit)
                if not line:
                    how = f"hangs for {limit:.0f} s" if line is None else "crashes"
                    return [*verdicts, f"reading it {how} in a process of its own"]
                verdicts.append(json.loads(line))
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


def _listen(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Its output, line by line; an empty line at its end."""
    assert process.stdout is not None
    for line in itertools.chain(process.stdout, [""]):
        lines.put(line)


def _next(lines: queue.Queue[str], seconds: float) -> str | None:
    """The next line, empty at the end; None after this many seconds."""
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return None


def _key(path: str | os.PathLike[str]) -> _Key:
    status = os.stat(path)
    return os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
