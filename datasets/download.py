"""Downloads: HTTPS only, with a size limit, an immediate error without a network, and no partial files."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any

from datasets.errors import DataUnavailable
from datasets.leftovers import temporary_folder


def require_reachable(name: str, address: str, looked: str, remedy: str, *, seconds: float = 10.0) -> None:
    """Request the headers of `address` once, so that a loader does not retry for minutes.

    Args:
        name: the data set.
        address: a file that the loader would download.
        looked: the places that were searched, for the message.
        remedy: what to do, for the message.
        seconds: time limit for an answer.

    Raises:
        DataUnavailable: if there is no answer, or an error other than a refusal of the request for headers.
    """
    request = urllib.request.Request(address, method="HEAD")
    try:
        with _open(request, seconds):
            return
    except urllib.error.HTTPError as error:
        if error.code not in (403, 405):  # a server may refuse headers and still send the file
            tried = f"{looked}, and {address} answers: {error}"
            raise DataUnavailable(name, tried, remedy) from error
    except (OSError, urllib.error.URLError) as error:
        tried = f"{looked}, and {address} cannot be reached: {error}"
        raise DataUnavailable(name, tried, remedy) from error


def download(address: str, most_bytes: int, *, seconds: float = 60.0) -> bytes:
    """Return the file at an HTTPS address.

    Args:
        address: of the file. Only redirections to HTTPS are followed.
        most_bytes: limit of the file's size.
        seconds: time limit for an answer, and for each part of it.

    Raises:
        OSError: if it cannot be downloaded.
        ValueError: if it is larger.
    """
    with _open(urllib.request.Request(address), seconds) as answer:
        content: bytes = answer.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"Expected at most {most_bytes:,} bytes. Received: more.")
    return content


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Context: a folder for downloads inside `parent`, removed at the end with those of killed processes.

    If the block fails, new empty folders are removed, `parent` included.
    """
    existed = parent.exists()
    before = set(parent.iterdir()) if existed else set()
    parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary_folder(parent) as scratch:
            yield scratch
    except BaseException:
        for folder in set(parent.iterdir()) - before:
            _remove_if_empty(folder)
        if not existed:
            _remove_if_empty(parent)
        raise


@contextmanager
def quiet(logger_name: str) -> Iterator[None]:
    """Context: suppress warnings of a logger, which are not meant for users."""
    logger = logging.getLogger(logger_name)

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections only to HTTPS; urllib would also follow HTTP and FTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request, seconds: float) -> Any:
    _require_https(request.full_url)
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=seconds)


def _require_https(address: str) -> None:
    if not address.lower().startswith("https://"):
        raise urllib.error.URLError(f"Expected an address of HTTPS. Received: {address}")


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
