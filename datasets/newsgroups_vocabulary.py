"""The vocabulary published with 20 Newsgroups, and its replacement if it is unavailable."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

from datasets.cache import cache_folder, content_hash, data_folder, read_bytes, write_bytes
from datasets.download import download, require_reachable
from datasets.errors import DataUnavailable
from datasets.newsgroups_packed import NAME as PACKED_NAME
from datasets.newsgroups_packed import read_vocabulary
from datasets.packed import is_packed, packed_folder

NAME = "20 Newsgroups"
PUBLISHED = 61_188
ADDRESS = "https://qwone.com/~jason/20Newsgroups/vocabulary.txt"
MOST_BYTES = 2**20  # of that file, which has 0.47 * 2**20
SHA256 = "3c0f0d64a814ba8836334a0f23925cef751fb3636baea55772f1f8ede4b791bc"
"""Of that file, vocabulary.txt: 61,188 words, each with a line feed after it."""

FILE = "newsgroups/vocabulary.txt"
REMEDY = (
    f"Set LTH_DATA_DIR to a folder that holds {FILE}, or with a network run: python -m datasets fetch newsgroups\n"
    "or have a vocabulary built from the training documents: vocabulary='training'."
)

Source = Literal["published", "training"]


class Vocabulary(NamedTuple):
    """A vocabulary.

    Attributes:
        words: the published words, numbered from 1; None for those of the training documents.
        source: "published" or "training".
        description: a sentence about it.
    """

    words: tuple[str, ...] | None
    source: Source
    description: str


def vocabulary_file() -> Path | None:
    """Return the path of the published vocabulary in $LTH_DATA_DIR, else in the cache folder; None if in neither."""
    places = [folder / FILE for folder in (data_folder(), cache_folder())]
    return next((place for place in places if place.is_file()), None)


def find_vocabulary(source: Source | None, limit: int, *, use_packed: bool = True) -> Vocabulary:
    """Return the vocabulary to encode with. The published one is also in the packed parts of 20 Newsgroups.

    Args:
        source: "published", or "training" for the most frequent words of the training documents. None for the published
            one if it is there or can be downloaded, else the other with a warning.
        limit: largest number of words; the last words of the published vocabulary are left out.
        use_packed: whether to read packed parts.

    Raises:
        DataUnavailable: if the published vocabulary is requested and unavailable, or if it is damaged.
        ValueError: if there is no such source.
    """
    if source not in ("published", "training", None):
        raise ValueError(f"{NAME}: Expected a vocabulary 'published', 'training' or None. Received: {source!r}.")
    packed = use_packed and is_packed(PACKED_NAME)
    if source != "training":
        try:
            if not packed and vocabulary_file() is None:
                fetch_vocabulary()
        except DataUnavailable as error:
            if source == "published":
                raise
            why = str(error).splitlines()[0].removeprefix(f"{NAME}: ")
            warnings.warn(
                f"{NAME}: the published vocabulary cannot be had, so words are numbered by a vocabulary built from the "
                f"training documents: results differ from those with the published one. Why: {why}. {REMEDY}",
                stacklevel=3,
            )
        else:
            return _published(limit, packed)
    sentence = f"the at most {limit:,} most frequent words of the 11,314 training documents, NOT the published ones"
    return Vocabulary(None, "training", sentence)


def fetch_vocabulary() -> None:
    """Download the published vocabulary (0.5 MB) into `data_folder()`, unless it is there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written, or has another content than expected.
    """
    if vocabulary_file() is not None:
        return
    path = data_folder() / FILE
    looked = f"no vocabulary in {path}"
    require_reachable(NAME, ADDRESS, looked, REMEDY)
    try:
        content = download(ADDRESS, MOST_BYTES)
        check_published(_parse(content))
        write_bytes(path, content)
    except (OSError, ValueError) as error:
        tried = f"{looked}, and downloading it from {ADDRESS} failed: {type(error).__name__}: {error}"
        raise DataUnavailable(NAME, tried, REMEDY) from error


def _published(limit: int, packed: bool) -> Vocabulary:
    path = packed_folder(PACKED_NAME) if packed else vocabulary_file()
    assert path is not None
    try:
        words = _parse(read_vocabulary() if packed else read_bytes(path, MOST_BYTES))
        if not packed:  # the documents in the same packed parts have these words
            check_published(words)
    except (OSError, ValueError) as error:
        tried = f"the vocabulary in {path} cannot be read: {error}"
        raise DataUnavailable(NAME, tried, f"Delete that file and load again, or another: {REMEDY}") from error
    sentence = (
        f"the first {limit:,} of the {PUBLISHED:,} words published with 20 Newsgroups (hash {content_hash(words)[:8]})"
    )
    return Vocabulary(tuple(words[:limit]), "published", sentence)


def _parse(content: bytes) -> list[str]:
    words = content.decode("utf-8").split("\n")
    if words[-1] == "":
        del words[-1]
    words = [word.rstrip("\r") for word in words]
    if len(words) != PUBLISHED or len(set(words)) != PUBLISHED or "" in words:
        raise ValueError(
            f"Expected {PUBLISHED:,} different words, one a line. Received: {len(words):,} lines, "
            f"{len(set(words) - {''}):,} different words."
        )
    return words


def check_published(words: list[str]) -> None:
    """Raise ValueError unless these are the published words, with any line ends in their file."""
    received = hashlib.sha256("".join(f"{word}\n" for word in words).encode()).hexdigest()
    if received != SHA256:
        raise ValueError(f"Expected the published words, with SHA-256 {SHA256}. Received: others, with {received}.")
