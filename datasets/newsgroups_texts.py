"""The postings of 20 Newsgroups as text, through scikit-learn, and the document in a posting."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.cache import read_bytes, texts_sha256
from datasets.download import require_reachable, scratch_folder
from datasets.errors import DataUnavailable
from datasets.newsgroups_cache import MOST_BYTES, Part, read_cache

NAME = "20 Newsgroups"
COUNTS = {"train": 11_314, "test": 7_532}
# What fetch_20newsgroups downloads, and what it keeps of it.
ADDRESS = "https://ndownloader.figshare.com/files/5975967"
FILE = "20news-bydate_py3.pkz"
# Of groups, postings and labels (`check_published`), all 18,846, in the order in which fetch_20newsgroups gives them.
# Not of FILE: scikit-learn makes that file itself, and its bytes differ by version and folder.
SHA256 = "91234f5a1f4046baad68eae9d262f8ea8d442166101014840ab1b7c299c96ad3"
REMEDY = (
    f"Set SCIKIT_LEARN_DATA to a folder that holds {FILE}, or with a network run: python -m datasets fetch newsgroups"
)


QUOTATION = re.compile(r"^[>|]|^In article|^Quoted from|writes in|(writes|wrote|says|said):")


class Postings(NamedTuple):
    """Postings with their headers, in the order of scikit-learn's files.

    Attributes:
        texts: by split, "train" and "test".
        labels: by split, shape (n,), int32: the index of a posting's group in `groups`.
        groups: names of the 20 groups.
    """

    texts: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    groups: tuple[str, ...]


def postings_file() -> Path:
    """Return the path of scikit-learn's cache of postings: in $SCIKIT_LEARN_DATA, else in ~/scikit_learn_data."""
    return _cache() / FILE


def read_postings() -> Postings:
    """Return all postings of the "bydate" split from scikit-learn's cache, without running code that it names.

    Raises:
        DataUnavailable: if they are absent, damaged, or not the published ones by their SHA-256.
    """
    path = postings_file()
    try:
        cache = read_cache(read_bytes(path, MOST_BYTES))
        parts = {split: cache[split] for split in COUNTS}
        for split, count in COUNTS.items():
            received = len(parts[split].texts), len(parts[split].labels)
            if received != (count, count):
                raise ValueError(f"Expected {count} postings and labels in split {split!r}. Received: {received}.")
        check_published(parts)
        return Postings(
            {split: part.texts for split, part in parts.items()},
            {split: part.labels.astype(np.int32) for split, part in parts.items()},
            parts["train"].groups,
        )
    except Exception as error:
        tried = f"the data in {path} cannot be read: {type(error).__name__}: {error}"
        remedy = f"Delete that file and load again, or another cache: {REMEDY}"
        raise DataUnavailable(NAME, tried, remedy) from error


def check_published(parts: Mapping[str, Part]) -> None:
    """Raise ValueError unless groups, postings and labels are the published ones, in the order of scikit-learn."""
    contents = list(parts["train"].groups)
    for part in parts.values():
        contents += [*part.texts, " ".join(map(str, part.labels.tolist()))]
    received = texts_sha256(contents)
    if received != SHA256:
        raise ValueError(f"Expected the published postings, with SHA-256 {SHA256}. Received: others, with {received}.")


def fetch_postings() -> None:
    """Download the postings (14 MB) into scikit-learn's cache, unless they are there.

    Raises:
        DataUnavailable: if they cannot be downloaded or written. No partial data are left.
    """
    if postings_file().is_file():
        return
    looked = f"no data in {postings_file()}"
    require_reachable(NAME, ADDRESS, looked, REMEDY)
    try:
        from sklearn.datasets import fetch_20newsgroups

        with scratch_folder(_cache()) as scratch:
            fetch_20newsgroups(data_home=scratch)
            os.replace(scratch / FILE, postings_file())
    except Exception as error:
        tried = f"{looked}, and downloading it there failed: {type(error).__name__}: {error}"
        raise DataUnavailable(NAME, tried, REMEDY) from error


def document(posting: str, *, remove_footers: bool = False, remove_quotes: bool = False) -> str:
    r"""Return the text of a posting without its header: what comes after the first empty line.

    A line of spaces is not empty (some headers have one). Line ends may be "\n" or "\r\n". A posting without an empty
    line, or with one at its start, has no header and is kept whole. Empty lines between paragraphs stay.

    Args:
        posting: header and text.
        remove_footers: remove what looks like a signature: all after the last line that is empty or made of hyphens, as
            scikit-learn's `remove=("footers",)` does. Without a signature this removes the last paragraph.
        remove_quotes: remove lines that start with > or |, and those that introduce a quotation ("In article ...",
            "... writes:"), as scikit-learn's `remove=("quotes",)` does.
    """
    text = posting.replace("\r\n", "\n")
    _, empty_line, after = f"\n{text}".partition("\n\n")
    text = after if empty_line else text
    text = _without_footer(text) if remove_footers else text
    return _without_quotes(text) if remove_quotes else text


def _without_footer(text: str) -> str:
    lines = text.strip().split("\n")
    dividers = [place for place, line in enumerate(lines) if not line.strip().strip("-")]
    return "\n".join(lines[: dividers[-1]]) if dividers and dividers[-1] > 0 else text


def _without_quotes(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not QUOTATION.search(line))


def _cache() -> Path:
    return Path(os.environ.get("SCIKIT_LEARN_DATA") or "~/scikit_learn_data").expanduser()
