"""The files of Reuters-21578 (Lewis, 1997): where they are, their download, and whether they are whole."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import urllib.request
from pathlib import Path

from datasets.cache import cache_folder, data_folder, write_bytes
from datasets.download import require_reachable
from datasets.errors import DataUnavailable
from datasets.reuters_sgml import Document, parse_documents

NAME = "Reuters-21578"
FOLDER = "reuters21578"
ARCHIVE = "reuters21578.tar.gz"
FILES = tuple(f"reut2-{number:03d}.sgm" for number in range(22))
DOCUMENTS = 21_578
COUNTS = {"train": 9_603, "test": 3_299}
"""Documents of the ModApte split, as the distribution's README counts them (VIII.B)."""
CATEGORIES = 118
"""Categories of TOPICS in these documents: 115 have a training document, 3 test documents alone."""
ADDRESSES = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases/reuters21578-mld/reuters21578.tar.gz",
    "http://www.daviddlewis.com/resources/testcollections/reuters21578/reuters21578.tar.gz",
)
REMEDY = (
    f"Set LTH_DATA_DIR to a folder that holds {FOLDER}/{FILES[0]} to {FILES[-1]}, {FOLDER}/{ARCHIVE} or {ARCHIVE}, "
    "or with a network run: python -m datasets fetch reuters"
)


def find_files() -> Path | None:
    """Return where the data are: a folder with SGML files, or the archive of the distribution. None if nowhere.

    Looked through are $LTH_DATA_DIR, then the cache folder; a folder with some of the files counts.
    """
    for own in (data_folder(), cache_folder()):
        if any((own / FOLDER / file).is_file() for file in FILES):
            return own / FOLDER
        for archive in (own / FOLDER / ARCHIVE, own / ARCHIVE):
            if archive.is_file():
                return archive
    return None


def read_documents() -> dict[str, list[Document]]:
    """Return the documents of the ModApte split, "train" and "test", in the order of the files.

    Raises:
        DataUnavailable: if there are none, a file is missing, cut off or damaged, or the counts are not those of
            the distribution.
    """
    path = find_files()
    if path is None:
        raise DataUnavailable(NAME, f"no data in {data_folder() / FOLDER}", REMEDY)
    try:
        return _documents(_from_folder(path) if path.is_dir() else _from_archive(path.read_bytes()))
    except Exception as error:  # tarfile and zlib each have their own
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        tried = f"the data in {path} cannot be read: {said}"
        raise DataUnavailable(NAME, tried, f"Delete them and load again, or others: {REMEDY}") from error


def fetch_documents() -> None:
    """Download the archive of the distribution (8 MB) into `data_folder()`, unless the data are there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written, or is not what was expected.
    """
    if find_files() is not None:
        return
    path = data_folder() / FOLDER / ARCHIVE
    looked = f"no data in {path.parent}"
    address = _first_reachable(looked)
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content = answer.read()
        _documents(_from_archive(content))
        write_bytes(path, content)
    except Exception as error:
        tried = f"{looked}, and downloading them from {address} failed: {type(error).__name__}: {error}"
        raise DataUnavailable(NAME, tried, REMEDY) from error


def _first_reachable(looked: str) -> str:
    for address in ADDRESSES[:-1]:
        try:
            require_reachable(NAME, address, looked, REMEDY)
            return address
        except DataUnavailable as error:
            looked = error.tried
    require_reachable(NAME, ADDRESSES[-1], looked, REMEDY)
    return ADDRESSES[-1]


def _from_folder(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in FILES if (folder / file).is_file()}


def _from_archive(content: bytes) -> dict[str, bytes]:
    """The SGML files of the archive, in whatever folder they are there. Nothing is unpacked to disk."""
    found = {}
    whole = gzip.decompress(content)  # all of it, so that its checksum is verified
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as archive:
        for member in archive:
            file = re.split(r"[/\\]", member.name)[-1]
            opened = archive.extractfile(member) if file in FILES else None
            if opened is not None:
                found[file] = opened.read()
    return found


def _documents(contents: dict[str, bytes]) -> dict[str, list[Document]]:
    missing = [file for file in FILES if file not in contents]
    if missing:
        raise ValueError(f"Expected {len(FILES)} files, {FILES[0]} to {FILES[-1]}. Missing: {', '.join(missing)}.")
    documents: list[Document] = []
    for file in FILES:
        parsed = parse_documents(file, contents[file])
        for place, document in enumerate(parsed, start=len(documents) + 1):
            if document.number != place:
                raise ValueError(f"{file}: Expected the document NEWID={place}. Received: NEWID={document.number}.")
        documents.extend(parsed)
    splits = {split: [document for document in documents if document.split == split] for split in COUNTS}
    categories = {topic for split in splits.values() for document in split for topic in document.topics}
    expected = {"in all": DOCUMENTS, **COUNTS, "categories": CATEGORIES}
    received = {
        "in all": len(documents),
        **{split: len(found) for split, found in splits.items()},
        "categories": len(categories),
    }
    if received != expected:
        raise ValueError(f"Expected the documents and categories of ModApte, {expected}. Received: {received}.")
    return splits
