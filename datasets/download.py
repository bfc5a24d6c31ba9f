"""What downloads have in common: fail at once without a network, leave nothing half-made."""

from __future__ import annotations

import logging
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.errors import DataUnavailable


def require_reachable(name: str, address: str, looked: str, remedy: str, *, seconds: float = 10.0) -> None:
    """Ask for the headers of `address` once, so that a loader need not retry for minutes.

    Args:
        name: the data set.
        address: a file that the loader would download.
        looked: where the data were looked for, for the message.
        remedy: what to do, for the message.
        seconds: how long to wait for an answer.

    Raises:
        DataUnavailable: if there is no answer, or one that is an error (but for a refusal of the question).
    """
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=seconds):
            return
    except urllib.error.HTTPError as error:
        if error.code not in (403, 405):  # a server may refuse to say and still give the file
            tried = f"{looked}, and {address} answers: {error}"
            raise DataUnavailable(name, tried, remedy) from error
    except (OSError, urllib.error.URLError) as error:
        tried = f"{looked}, and {address} cannot be reached: {error}"
        raise DataUnavailable(name, tried, remedy) from error


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for downloads inside `parent`; take it away at the end.

    If the block fails, folders that are left empty, `parent` included, go too if they were not
    there before.
    """
    existed = parent.exists()
    before = set(parent.iterdir()) if existed else set()
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="download-", dir=parent))
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in set(parent.iterdir()) - before:
            _remove_if_empty(folder)
        if not existed:
            _remove_if_empty(parent)
        raise
    else:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def quiet(logger_name: str) -> Iterator[None]:
    """Hold back warnings of one logger, which speak to a library's authors and not to users."""
    logger = logging.getLogger(logger_name)

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
