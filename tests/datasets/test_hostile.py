"""Downloads, archives and caches of others: nothing in them is run, and none takes memory without limit."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import DataUnavailable, newsgroups_texts, newsgroups_vocabulary, reuters, reuters_archive, reuters_files
from datasets.cache import read_arrays
from datasets.download import download
from datasets.newsgroups_cache import MOST_UNPACKED, read_cache
from datasets.newsgroups_texts import read_postings
from datasets.newsgroups_vocabulary import find_vocabulary
from datasets.npz import read_npz
from datasets.packed import packed_folder, read_packed, write_packed
from datasets.reuters_archive import MOST_MEMBERS, unpack
from tests.datasets import newsgroups_small, reuters_small
from tests.datasets.serving import serve
from tests.datasets.test_newsgroups import needs_newsgroups
from tests.datasets.test_packed import ARRAYS, CONTENT

NAMES = reuters_small.FILES
CHECK_REUTERS = reuters_files.check_published  # fixtures replace them
CHECK_POSTINGS = newsgroups_texts.check_published


# Downloads


@pytest.mark.parametrize("address", ["http://a.test/x", "ftp://a.test/x", "file:///etc/hostname"])
def test_nothing_is_downloaded_but_by_https(address: str) -> None:
    with pytest.raises(OSError, match="Expected an address of HTTPS"):
        download(address, 100)


def test_addresses_are_of_https() -> None:
    addresses = (newsgroups_texts.ADDRESS, newsgroups_vocabulary.ADDRESS, *reuters_files.ADDRESSES)
    assert all(address.startswith("https://") for address in addresses)


def test_a_redirection_is_followed_to_https_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(
        monkeypatch,
        {"https://a.test/": "https://b.test/", "https://b.test/": b"here", "https://c.test/": "http://d.test/"},
    )
    assert download("https://a.test/", 100) == b"here"
    with pytest.raises(OSError, match="HTTPS. Received: http://d.test/"):
        download("https://c.test/", 100)


def test_an_answer_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, {"https://a.test/": b"x" * 101})
    assert len(download("https://a.test/", 101)) == 101
    with pytest.raises(ValueError, match="Expected at most 100 bytes"):
        download("https://a.test/", 100)


# The vocabulary


@pytest.mark.parametrize("where", ["here", "downloaded"])
def test_other_words_than_the_published_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for variable in ("LTH_DATA_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    file = newsgroups_small.write_vocabulary(tmp_path, newsgroups_small.vocabulary_words())
    if where == "downloaded":
        serve(monkeypatch, {newsgroups_vocabulary.ADDRESS: file.read_bytes()})
        file.unlink()
    with pytest.raises(DataUnavailable, match=f"Expected the published words.*{newsgroups_vocabulary.SHA256}"):
        find_vocabulary("published", 100)
    assert file.exists() == (where == "here")


@needs_newsgroups
def test_the_published_words_are_taken_with_any_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = newsgroups_vocabulary.vocabulary_file()
    assert original is not None
    content = original.read_bytes()
    assert hashlib.sha256(content).hexdigest() == newsgroups_vocabulary.SHA256
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    file = newsgroups_small.write_vocabulary(tmp_path, [])
    for ends in (content, content.replace(b"\n", b"\r\n"), content.rstrip()):
        file.write_bytes(ends)
        assert find_vocabulary("published", 100).source == "published"
    file.write_bytes(content.replace(b"archive\n", b"archiv\n", 1))
    with pytest.raises(DataUnavailable, match="Expected the published words"):
        find_vocabulary("published", 100)


# Reuters-21578


def test_changed_text_of_reuters_is_refused_whatever_the_line_ends(
    small_reuters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in reuters_small.files().items()}
    monkeypatch.setattr(reuters_files, "SHA256", digests)
    monkeypatch.setattr(reuters_files, "check_published", CHECK_REUTERS)
    file = small_reuters / "own" / "reuters21578" / NAMES[1]
    content = file.read_bytes()
    file.write_bytes(content.replace(b"\n", b"\r\n"))
    reuters.load(validation=0)
    file.write_bytes(content.replace(b"unheard", b"overheard"))
    with pytest.raises(DataUnavailable, match=f"Expected {NAMES[1]} as it is in Distribution 1.0"):
        reuters.load(validation=0)


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def member(name: str, size: int = 0, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def gnu_sparse() -> bytes:
    """A member of one block that unpacks to 8 GB of zeros."""
    block = bytearray(member(NAMES[0], 512).tobuf(tarfile.GNU_FORMAT))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[386:410] = b"%011o\0%011o\0" % (2**33 - 512, 512)
    block[483:495] = b"%011o\0" % (2**33 - 1)
    return gzip.compress(with_checksum(block) + bytes(512 * 3))


def negative_size() -> bytes:
    """A member that ends before it begins: read one after the other, there is no end to them."""
    block = bytearray(member("a").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (2**16 - 512).to_bytes(2, "big")
    first = member("b").tobuf(tarfile.GNU_FORMAT)
    return gzip.compress(first + with_checksum(block) + bytes(512 * 3))


def with_checksum(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: gzip.compress(bytes(reuters_archive.MOST_UNPACKED + 512), 1), "Expected an archive of at most"),
        (lambda: archive(*[(member(f"{n}"), b"") for n in range(MOST_MEMBERS + 1)]), "Expected at most 200 members"),
        (negative_size, "Expected at most 200 members"),
        (gnu_sparse, "a link, a device or a sparse file"),
        (lambda: archive((member(NAMES[0], type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")), "a link, a device"),
        (
            lambda: archive((member("a", 1), b"a"), (member(f"b/{NAMES[0]}", type=tarfile.LNKTYPE, linkname="a"), b"")),
            "a link",
        ),
        (lambda: archive(*[(member(f"{n}/{NAMES[0]}", 1), b"a") for n in range(2)]), "it twice"),
    ],
    ids=["bomb", "members", "endless", "sparse", "symbolic link", "hard link", "twice"],
)
def test_hostile_archives_are_refused(content: Callable[[], bytes], said: str) -> None:
    with pytest.raises((ValueError, tarfile.TarError), match=said):
        unpack(content(), NAMES)


def test_an_absolute_path_in_an_archive_writes_nothing(tmp_path: Path) -> None:
    place = tmp_path / NAMES[0]
    content = archive((member(str(place), 3), b"abc"), (member(f"../../{NAMES[1]}", 3), b"def"))
    assert unpack(content, NAMES) == {NAMES[0]: b"abc", NAMES[1]: b"def"}
    assert not place.exists()


# scikit-learn's pickle


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def pickled(objects: object, protocol: int = 4) -> bytes:
    return zlib.compress(pickle.dumps(objects, protocol))


@pytest.mark.parametrize("protocol", range(6))
def test_no_function_that_a_cache_names_is_run(small_newsgroups: Path, protocol: int) -> None:
    path = newsgroups_texts.postings_file()
    cache = pickle.loads(zlib.decompress(path.read_bytes()))
    cache["train"]["DESCR"] = Evil(small_newsgroups / "made by the pickle")
    path.write_bytes(pickled(cache, protocol))
    with pytest.raises(DataUnavailable, match="is not run|cannot be read"):
        read_postings()
    assert not (small_newsgroups / "made by the pickle").exists()
    pickle.loads(zlib.decompress(path.read_bytes()))  # the pickle does what is said of it
    assert (small_newsgroups / "made by the pickle").exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_caches_of_every_protocol_that_python_3_writes_are_read(small_newsgroups: Path, protocol: int) -> None:
    path = newsgroups_texts.postings_file()
    if protocol > 2:  # whose bytes need a function of another module
        path.write_bytes(pickled(pickle.loads(zlib.decompress(path.read_bytes())), protocol))
    postings = read_postings()
    assert postings.texts == newsgroups_small.small_texts() and postings.groups == tuple(newsgroups_small.GROUPS)
    assert postings.labels["train"].tolist() == [place % 20 for place in range(60)]


@pytest.mark.parametrize("dtype", ["<i4", ">i8", "<i8"])
def test_labels_of_other_machines_are_read(small_newsgroups: Path, dtype: str) -> None:
    path = newsgroups_texts.postings_file()
    cache = pickle.loads(zlib.decompress(path.read_bytes()))
    cache["test"]["target"] = cache["test"]["target"].astype(dtype)
    path.write_bytes(pickled(cache))
    assert read_postings().labels["test"].tolist() == [*range(20)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "zlib"),
        (zlib.compress(bytes(MOST_UNPACKED + 1), 1), "Expected a whole zlib stream"),
        (pickled("x")[:-5], "Expected a whole zlib stream"),
        (pickled([1]), "Expected a dictionary"),
        (pickled({"train": {"data": []}}), "Expected a dictionary"),
        (zlib.compress(b"\x80\x04)" + pickle.TUPLE1 * 10**5 + b"."), "Expected at most 8,192 instructions"),
        (zlib.compress(b"\x80\x04cbuiltins\neval\n(X\x03\x00\x00\x001+1tR."), "builtins.eval, which is not run"),
        (zlib.compress(b"\x80\x04Ppersistent\n."), "persistent"),
        (zlib.compress(b"\x80\x04\x82\x01."), "extension"),
        (zlib.compress(b"\x80\x04Nr\xff\xff\xff\x7f."), "Expected a dictionary"),  # 16 GB in C
        (zlib.compress(b"\x80\x04\x8e" + (2**50).to_bytes(8, "little") + b"x."), "bytes8"),
        (zlib.compress(b"\x80\x04csklearn.utils\nBunch\n}b."), "TypeError"),
    ],
)
def test_caches_that_are_none_are_errors_and_take_no_memory(content: bytes, said: str) -> None:
    with pytest.raises((ValueError, pickle.UnpicklingError), match=said):
        read_cache(content)


def test_other_postings_than_the_published_are_refused(small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newsgroups_texts, "check_published", CHECK_POSTINGS)
    with pytest.raises(
        DataUnavailable, match=f"Expected the published postings, with SHA-256 {newsgroups_texts.SHA256}"
    ):
        read_postings()


# npz files


def npz(shape: tuple[int, ...], data: bytes, name: str = "x", dtype: str = "|u1") -> bytes:
    """An npz file whose array has a header of its own."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{name}.npy", header.getvalue() + data)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npz((2**42,), b"abc"), "Received: a header for 4,398,046,511,104"),
        (npz((2**40, 2**40), b"abc"), "Received: a header for"),
        (npz((2,), b"abc"), "Received: a header for 2"),
        (npz((-1,), b"abc"), "Expected a shape"),
        (npz((3,), b"abc", "y"), "Expected an array 'x'"),
        (npz((1,), b"12345678", dtype="|O"), "Expected a type of numbers"),
    ],
)
def test_an_array_is_not_made_before_its_size_is_known(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_arrays(tmp_path / "x.npz", ["x"])


def test_arrays_of_too_many_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected arrays of at most"):
        read_npz(npz((2 * 10**6,), bytes(2 * 10**6)), ["x"], most_bytes=10**6)


def change_manifest(change: Callable[[dict[str, Any]], Any]) -> None:
    path = packed_folder("numbers") / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest["arrays"]["y"].update(shape=[2**42]), "Expected arrays of at most"),
        (lambda manifest: manifest["arrays"]["y"].update(dtype="|O"), "Expected a type of numbers"),
        (lambda manifest: manifest["arrays"]["y"].update(dtype="<U268435455"), "Expected arrays of at most"),
        (lambda manifest: manifest["arrays"]["y"].update(shape=[-1]), "Expected a shape"),
        (lambda manifest: manifest["parts"][-1].update(file="../other/part-000.npz"), "Expected parts in numbers"),
        (lambda manifest: manifest["parts"][-1].update(file="/etc/hostname"), "Expected parts in numbers"),
    ],
    ids=["large", "objects", "text", "negative", "above", "absolute"],
)
def test_a_hostile_manifest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    write_packed("numbers", CONTENT, {"y": ARRAYS["y"]}, tmp_path / "packed", 10**6)
    read_packed("numbers", CONTENT, ["y"])
    change_manifest(change)
    with pytest.raises(DataUnavailable, match=said):
        read_packed("numbers", CONTENT, ["y"])
