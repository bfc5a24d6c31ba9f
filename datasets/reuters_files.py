"""The files of Reuters-21578 (Lewis, 1997): location, download and checks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from datasets import reuters_archive
from datasets.cache import cache_folder, data_folder, read_bytes, write_bytes
from datasets.download import download, require_reachable
from datasets.errors import DataUnavailable
from datasets.reuters_sgml import Document, parse_documents

NAME = "Reuters-21578"
FOLDER = "reuters21578"
ARCHIVE = "reuters21578.tar.gz"
MOST_FILE = 2**22  # bytes of a file; the longest has 0.34 * 2**22
# Of the files of Distribution 1.0, as its archive reuters21578.tar.gz unpacks them.
SHA256: Mapping[str, str] = {
    "reut2-000.sgm": "9ff9bb40624ef992a03f62aace12e697dca1087abfd9b4d06aa787a6ad3e0687",
    "reut2-001.sgm": "1528e7e82d110d88d0234eb9619eadb7f9fd805711971df05975b92277dfdf4d",
    "reut2-002.sgm": "99f18068d0518952987dedd78c622e5c2a584e357d264d3754696c815f3e6628",
    "reut2-003.sgm": "78a3a8d7e04bc9d42c4614d5d5c60a4293dbe3f708df6fb5a71d9ef31f4b3fa3",
    "reut2-004.sgm": "726342c19a65873330b412378cd6a3f0d512035f5223146ddd60930c62eb6ff0",
    "reut2-005.sgm": "d09de619b6dd2d047d5124681f6df90550abaf592020d1c1ce338ae9b91522e7",
    "reut2-006.sgm": "b5535c0d66b01f4976f84621a4a795afbc00d2c4bd0a1b7ae426df6630fb361d",
    "reut2-007.sgm": "aa706007ec84a03537a3921ca976d60e11b3f99e4b9e9b2d5c81dd384d2c2062",
    "reut2-008.sgm": "a3994583694a00b7c744097c1d7eabfcf90f2e6650cc21663e46828035a336cb",
    "reut2-009.sgm": "29995f606dd1a9bdf907eacc9d879846c716860d9d9141676979474aaea39c7d",
    "reut2-010.sgm": "996df6008089bd09fa5b28a4d2eb0ee5f7b9d4601cde566fed3926ac82960fa3",
    "reut2-011.sgm": "d3a2782015247d9c2bffb8926267827fdd449c70d619435ef01a25a1c56a53ca",
    "reut2-012.sgm": "da31035d483851f2aebce5b66d779e5e2c0ac9dcfe098596c6d544e81c5604ab",
    "reut2-013.sgm": "8f7700bc0455fac3fcc12377ced4807b7df8aba1f21ecad059b9cc2b1cf0b8be",
    "reut2-014.sgm": "ef936bd3e0f36cf722afa9a6957563549775af32e9e28b4f539c8737ceda83ab",
    "reut2-015.sgm": "6d3bcec73eff871b8a5403588af814c4e50a0de6bc25707480522ab836f74026",
    "reut2-016.sgm": "be2f03a185fff70131f3b4fdbd6229b7ee2be077eba9691eaa597c8cfbda8812",
    "reut2-017.sgm": "f370e610b4b1342e41a98e0c426a08541044bd1d7e539674f32372a6060b73b5",
    "reut2-018.sgm": "a5f971bf25448e915781962309e669359a35fbcaf3017a806eca0590897f209a",
    "reut2-019.sgm": "d3b07097fba2633d130b4914aceba671645985248943ce9e39c289315339dffb",
    "reut2-020.sgm": "f6ad1b724125c202566c63b35ea0b5ee23881f8b7ed47a32829d5af05d8e860d",
    "reut2-021.sgm": "3f5196d32869723c9042aa5756805b4e90360f1f45ea17f4594fa0e2b3630b18",
}
FILES = tuple(SHA256)
DOCUMENTS = 21_578
COUNTS = {"train": 9_603, "test": 3_299}
"""Documents of the ModApte split, as the distribution's README counts them (VIII.B)."""
CATEGORIES = 118
"""Categories of TOPICS in these documents: 115 have a training document, 3 test documents alone."""
ADDRESSES = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases/reuters21578-mld/reuters21578.tar.gz",
    "https://www.daviddlewis.com/resources/testcollections/reuters21578/reuters21578.tar.gz",
)
REMEDY = (
    f"Set LTH_DATA_DIR to a folder that holds {FOLDER}/{FILES[0]} to {FILES[-1]}, {FOLDER}/{ARCHIVE} or {ARCHIVE}, "
    "or with a network run: python -m datasets fetch reuters"
)


def find_files() -> Path | None:
    """Return the path of the data: a folder with SGML files, or the archive of the distribution; None if absent.

    Searches $LTH_DATA_DIR, then the cache folder. A folder with some of the files counts.
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
        DataUnavailable: if there are none, or a file is missing, truncated, damaged or not that of the distribution by
            its SHA-256. Line ends of any system are accepted.
    """
    path = find_files()
    if path is None:
        raise DataUnavailable(NAME, f"no data in {data_folder() / FOLDER}", REMEDY)
    try:
        return _documents(_from_folder(path) if path.is_dir() else _from_archive(path))
    except Exception as error:  # tarfile and zlib raise different errors
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        tried = f"the data in {path} cannot be read: {said}"
        raise DataUnavailable(NAME, tried, f"Delete them and load again, or others: {REMEDY}") from error


def fetch_documents() -> None:
    """Download the archive of the distribution (8 MB) into `data_folder()`, unless the data are there.

    Raises:
        DataUnavailable: if it cannot be downloaded or written, or has another content than expected.
    """
    if find_files() is not None:
        return
    path = data_folder() / FOLDER / ARCHIVE
    looked = f"no data in {path.parent}"
    address = _first_reachable(looked)
    try:
        content = download(address, reuters_archive.MOST_BYTES)
        _documents(reuters_archive.unpack(content, FILES))
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
    return {file: read_bytes(folder / file, MOST_FILE) for file in FILES if (folder / file).is_file()}


def _from_archive(path: Path) -> dict[str, bytes]:
    return reuters_archive.unpack(read_bytes(path, reuters_archive.MOST_BYTES), FILES)


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
    check_published(contents)
    return splits


def check_published(contents: Mapping[str, bytes]) -> None:
    """Raise ValueError if a file is not that of the distribution. Called last, since other errors name the line."""
    for file, content in contents.items():
        received = hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()
        if received != SHA256[file]:
            raise ValueError(
                f"Expected {file} as it is in Distribution 1.0, with SHA-256 {SHA256[file]}. Received: {received}."
            )
