from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import DataUnavailable, Splits, encoding, reuters, reuters_files
from datasets.reuters_groups import group_places, topics_by_category
from datasets.reuters_sgml import Document
from datasets.text import punkt_is_present, share_untruncated
from tests.datasets import newsgroups_small
from tests.datasets import reuters_small as small
from tests.datasets.serving import serve
from tests.datasets.test_packed import check_packing_changes_nothing, from_parts, same

needs_reuters = pytest.mark.skipif(
    reuters_files.find_files() is None, reason="Reuters-21578 is not in the project's data folder (LTH_DATA_DIR)"
)

# alpha 1, beta 2, gamma 3, delta 4, then words that stand once: epsilon 5, nothing 6, table 7.
TRAIN = {1: [1, 2, 1, 1, 1], 2: [1, 2, 2], 4: [3, 1, 2], 5: [2, 3], 6: [4, 1, 4, 3], 7: [7, 1, 2], 8: [1], 9: [6, 5]}
TEST = {11: [1], 13: [2, 3], 14: []}


def load(**arguments: Any) -> Splits:
    return reuters.load(**{"validation": 0, "tokens": 6, **arguments})


def rows(x: np.ndarray) -> list[list[int]]:
    """The rows without the padding at their end."""
    return [np.trim_zeros(row, "b").tolist() for row in x]


def test_sizes_types_and_classes(small_reuters: Path) -> None:
    loaded = load(tokens=30)
    assert loaded.classes == ("acq", "earn", "wheat") and loaded.multi_label
    shapes = [(split.x.shape, split.y.shape) for split in (loaded.train, loaded.validation, loaded.test)]
    assert shapes == [((7, 30), (7, 3)), ((0, 30), (0, 3)), ((2, 30), (2, 3))]
    for split in (loaded.train, loaded.validation, loaded.test):
        assert split.x.dtype == np.int32 and split.y.dtype == np.float32
    assert load().train.x.shape[1] == 6 and reuters.load().train.x.shape[1] == 200


def test_rows_are_the_documents_in_order_with_their_categories(small_reuters: Path) -> None:
    loaded = load(keep_negatives=True)
    assert rows(loaded.train.x) == list(TRAIN.values()) and rows(loaded.test.x) == list(TEST.values())
    acq, earn, wheat = loaded.train.y.T
    assert earn.tolist() == [1, 1, 0, 1, 0, 0, 1, 0]
    assert acq.tolist() == [0, 1, 0, 0, 1, 1, 0, 0]
    assert wheat.tolist() == [0, 0, 1, 0, 1, 0, 0, 0]
    assert loaded.test.y.tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_documents_of_none_of_the_categories_are_left_out(small_reuters: Path) -> None:
    loaded = load()
    assert rows(loaded.train.x) == [TRAIN[number] for number in (1, 2, 4, 5, 6, 7, 8)]
    assert rows(loaded.test.x) == [TEST[13], TEST[14]]
    assert (loaded.train.y.sum(axis=1) > 0).all() and (loaded.test.y.sum(axis=1) > 0).all()


def test_the_groups_are_told_apart_by_what_they_hold(small_reuters: Path) -> None:
    assert load(group="R(115)").classes == ("acq", "earn", "grain", "tin", "wheat")
    assert load(group="R(10)").classes == ("acq", "earn", "grain", "tin", "wheat")
    assert load(group="R115").y_meaning == load(group="R(115)").y_meaning != load(group="R10").y_meaning


def test_the_ten_categories_are_those_with_the_most_training_documents() -> None:
    train = np.zeros((30, 14), np.uint8)
    counts = [0, 5, 9, 5, 5, 8, 2, 7, 6, 5, 5, 5, 30, 1]
    for place, count in enumerate(counts):
        train[:count, place] = 1
    test = np.zeros((5, 14), np.uint8)
    test[0, [0, 1, 2, 13]] = 1
    assert group_places("R(10)", train, test).tolist() == [1, 2, 3, 4, 5, 7, 8, 9, 10, 12]
    assert group_places("R(90)", train, test).tolist() == [1, 2, 13]
    assert group_places("R(115)", train, test).tolist() == list(range(1, 14))


def test_a_document_may_be_of_several_categories_or_of_none() -> None:
    found = topics_by_category([("b", "a"), (), ("c",)], ("a", "b", "c"))
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("group", ["R(9)", "r90", "", "90", "ModApte"])
def test_an_unknown_group_is_an_error_that_names_the_known_ones(small_reuters: Path, group: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'R115' (R(115)). Received: {group!r}")):
        load(group=group)


def test_words_beyond_the_vocabulary_are_dropped_and_its_size_is_said(small_reuters: Path) -> None:
    loaded = load(words=2)
    assert rows(loaded.train.x) == [[n for n in TRAIN[d] if n <= 2] for d in (1, 2, 4, 5, 6, 7, 8)]
    assert "numbers 1 to 2, then 0" in loaded.x_meaning
    assert "the 7 most frequent words" in load().provenance["vocabulary"]


def test_a_row_is_the_start_of_its_document(small_reuters: Path) -> None:
    assert load(tokens=2).train.x.tolist() == [[1, 2], [1, 2], [3, 1], [2, 3], [4, 1], [7, 1], [1, 0]]


def test_train_and_validation_are_a_partition_drawn_by_the_seed(small_reuters: Path) -> None:
    drawn = set()
    for seed in range(8):
        loaded, again = load(validation=0.3, seed=seed), load(validation=0.3, seed=seed)
        assert same(loaded, again) and not loaded.without_validation
        assert [len(loaded.train.y), len(loaded.validation.y)] == [5, 2]
        found = [*zip(rows(loaded.train.x), loaded.train.y.tolist(), strict=True)]
        found += [*zip(rows(loaded.validation.x), loaded.validation.y.tolist(), strict=True)]
        whole = load()
        assert sorted(found) == sorted(zip(rows(whole.train.x), whole.train.y.tolist(), strict=True))
        assert np.array_equal(loaded.test.x, whole.test.x) and np.array_equal(loaded.test.y, whole.test.y)
        drawn.add(loaded.validation.x.tobytes())
    assert len(drawn) > 2


def test_without_validation_every_training_document_is_trained_on_in_order(small_reuters: Path) -> None:
    assert load().without_validation and load(validation=0.0).without_validation
    assert same(load(seed=0), load(seed=5))


@pytest.mark.parametrize("validation", [-0.1, 1, 777, 1.0, float("nan"), True, 0.01, 0.99])
def test_an_impossible_validation_share_is_an_error(small_reuters: Path, validation: float) -> None:
    with pytest.raises(ValueError, match=f"share.*Received: {validation}"):
        load(validation=validation)


@pytest.mark.parametrize("name", ["tokens", "words"])
@pytest.mark.parametrize("size", [0, -200, 1.5, True])
def test_an_impossible_size_is_an_error(small_reuters: Path, name: str, size: Any) -> None:
    with pytest.raises(ValueError, match=f"Expected {name}.*Received: {size}"):
        load(**{name: size})


def test_a_negative_seed_is_an_error(small_reuters: Path) -> None:
    with pytest.raises(ValueError, match="seed=-1"):
        load(seed=-1)


def test_documents_are_tokenised_once_whatever_is_asked_for(
    small_reuters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load()

    def refuse(text: str) -> list[str]:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(encoding, "tokenise", refuse)
    assert same(load(), first)
    load(group="R10", words=3, tokens=4, seed=3, validation=0.4, keep_negatives=True)
    file = small_reuters / "own" / "reuters21578" / small.FILES[0]
    file.write_bytes(file.read_bytes().replace(b"epsilon", b"upsilon"))
    with pytest.raises(AssertionError, match="tokenised again"):
        load()


def pack_archive(folder: Path, keep: int | None = None) -> bytes:
    """The SGML files of the folder as an archive, with a folder inside and a file that is none of them."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in [("README.txt", b"<"), *((f"./{name}", data) for name, data in small.files().items())][:keep]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for file in folder.glob("*.sgm"):
        file.unlink()
    return content.getvalue()


@pytest.mark.parametrize("place", ["reuters21578/reuters21578.tar.gz", "reuters21578.tar.gz"])
def test_the_archive_is_read_like_the_folder(small_reuters: Path, place: str) -> None:
    expected = load()
    archive = small_reuters / "own" / place
    archive.write_bytes(pack_archive(small_reuters / "own" / "reuters21578"))
    loaded = load()
    assert same(loaded, expected) and loaded.provenance["read_from"] == f"{archive} (LTH_DATA_DIR)"
    assert reuters.status().present and str(archive) in reuters.status().where


@pytest.mark.parametrize("keep", [0, 0.3, 0.9, 0.99])
def test_an_archive_cut_off_is_one_clear_error(small_reuters: Path, keep: float) -> None:
    archive = small_reuters / "own" / "reuters21578.tar.gz"
    content = pack_archive(small_reuters / "own" / "reuters21578")
    archive.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataUnavailable, match="(?s)cannot be read: .*Delete them") as error:
        load()
    assert str(archive) in str(error.value)


def test_an_archive_without_a_file_names_it(small_reuters: Path) -> None:
    archive = small_reuters / "own" / "reuters21578.tar.gz"
    archive.write_bytes(pack_archive(small_reuters / "own" / "reuters21578", keep=2))
    with pytest.raises(DataUnavailable, match="Missing: reut2-001.sgm"):
        load()


DOCUMENT_5 = small.sgml([small.MADE[4]], 5).partition("\n")[2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</BODY>", "</BOD", r"reut2-000.sgm, line 1\d: Expected a whole tag"),
        (DOCUMENT_5, "", "Expected the document NEWID=5. Received: NEWID=6"),
        (DOCUMENT_5, DOCUMENT_5 + DOCUMENT_5, "Expected the document NEWID=6. Received: NEWID=5"),
        (DOCUMENT_5, DOCUMENT_5.replace("TRAIN", "TEST", 1), "'train': 8, .* Received: .*'train': 7, 'test': 4"),
        ("<D>grain</D>", "<D>grane</D>", "'categories': 6.* Received: .*'categories': 7"),
    ],
    ids=["tag", "lost", "twice", "split", "category"],
)
def test_damaged_files_are_one_clear_error(small_reuters: Path, old: str, new: str, message: str) -> None:
    folder = small_reuters / "own" / "reuters21578"
    text = (folder / small.FILES[0]).read_text(encoding="latin-1")
    assert old in text
    (folder / small.FILES[0]).write_text(text.replace(old, new, 1), encoding="latin-1")
    with pytest.raises(DataUnavailable, match=message) as error:
        load()
    for part in (str(folder), "Delete them and load again", "LTH_DATA_DIR", "experiments.digits_lenet_fcn"):
        assert part in str(error.value)


def test_a_file_cut_off_is_one_clear_error_wherever(small_reuters: Path) -> None:
    path = small_reuters / "own" / "reuters21578" / small.FILES[1]
    content = path.read_bytes()
    for kept in [*range(0, len(content), 97), content.rindex(b"<REUTERS"), content.index(b"<REUTERS")]:
        path.write_bytes(content[:kept])
        with pytest.raises(DataUnavailable, match=r"reut2-001\.sgm, line|'in all': 14"):
            load()


def test_a_missing_file_is_named(small_reuters: Path) -> None:
    (small_reuters / "own" / "reuters21578" / small.FILES[0]).unlink()
    with pytest.raises(DataUnavailable, match=r"Expected 2 files.* Missing: reut2-000\.sgm\."):
        load()


def without_data(folder: Path) -> bytes:
    """Takes the data away; returns them as an archive."""
    content = pack_archive(folder / "own" / "reuters21578")
    (folder / "own" / "reuters21578").rmdir()
    return content


def test_no_data_and_no_network_is_one_clear_error(small_reuters: Path) -> None:
    without_data(small_reuters)
    with pytest.raises(DataUnavailable) as error:
        load()
    for part in (str(small_reuters), "9/first cannot be", "9/second cannot be", "LTH_DATA_DIR", "digits_lenet_fcn"):
        assert part in str(error.value)
    assert not reuters.status().present and str(small_reuters / "own") in reuters.status().where
    assert list((small_reuters / "own").iterdir()) == []


@pytest.mark.parametrize("place", [0, 1])
def test_what_can_be_downloaded_is(small_reuters: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    expected = load()
    served = small_reuters / "served.tar.gz"
    served.write_bytes(without_data(small_reuters))
    serve(monkeypatch, {reuters_files.ADDRESSES[place]: served})
    reuters.fetch()
    assert (small_reuters / "own/reuters21578/reuters21578.tar.gz").read_bytes() == served.read_bytes()
    assert same(load(), expected)


def test_a_download_that_is_not_the_data_is_not_kept(small_reuters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = without_data(small_reuters)
    served = small_reuters / "served.tar.gz"
    serve(monkeypatch, {reuters_files.ADDRESSES[0]: served})
    for wrong in (b"<p>moved</p>", content[:-50], pack_archive(small_reuters, keep=2)):
        served.write_bytes(wrong)
        with pytest.raises(DataUnavailable, match="downloading them from https:.* failed: "):
            load()
        assert list((small_reuters / "own").iterdir()) == []


def test_no_tokeniser_data_and_no_network_is_one_clear_error(
    small_reuters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_reuters / "empty").mkdir()
    newsgroups_small.use_nltk_data(small_reuters / "empty", monkeypatch)
    with pytest.raises(DataUnavailable, match="punkt_tab.*127.0.0.1:9"):
        load()
    assert not reuters.status().present


def test_packed_documents_are_the_same_whatever_is_asked_for_and_need_nothing_else(
    small_reuters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [{"group": "R10", "words": 3, "validation": 0.4}, {"keep_negatives": True, "tokens": 2}]
    before = [load(**arguments) for arguments in asked]
    check_packing_changes_nothing("reuters", reuters, validation=0.3)
    monkeypatch.setattr(encoding, "tokenise", None)
    without_data(small_reuters)
    assert reuters.status().present
    for arguments, expected in zip(asked, before, strict=True):
        loaded = load(**arguments)
        assert same(loaded, expected) and from_parts(loaded)


@pytest.fixture(scope="module")
def real() -> dict[str, list[Document]]:
    return reuters_files.read_documents()


@needs_reuters
@pytest.mark.slow
def test_the_real_documents_are_those_of_modapte(real: dict[str, list[Document]]) -> None:
    assert {split: len(documents) for split, documents in real.items()} == {"train": 9_603, "test": 3_299}
    assert [sum(not document.topics for document in real[split]) for split in ("train", "test")] == [1_828, 280]
    assert real["train"][0].number == 1 and real["train"][0].text.split()[:4] == ["BAHIA", "COCOA", "REVIEW", "Showers"]
    texts = [document.text for split in real.values() for document in split]
    assert all(text.strip() for text in texts) and not any("Blah blah" in text or "&lt;" in text for text in texts)
    # Number 16260 is a short note, a title alone; 99 is a table without title and body.
    numbered = {document.number: document for split in real.values() for document in split}
    assert numbered[16_260].text.strip() == "NCR CORP 1ST QTR SHR 65 CTS VS 51 CTS"
    assert numbered[99].text.split()[:5] == ["FEDERAL", "RESERVE", "WEEKLY", "REPORT", "1"]


@pytest.fixture
def untokenised(real: dict[str, list[Document]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real documents split at spaces, since NLTK takes half a minute: which there are does not depend on it."""
    monkeypatch.setattr(encoding, "require_punkt", lambda name: None)
    monkeypatch.setattr(encoding, "tokenise", str.split)
    monkeypatch.setattr(reuters, "read_documents", lambda: real)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


TEN = ("acq", "corn", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade", "wheat")


@needs_reuters
@pytest.mark.usefixtures("untokenised")
@pytest.mark.parametrize(
    ("group", "classes", "train", "test"),
    [("R(10)", 10, 6490, 2545), ("R(90)", 90, 7770, 3019), ("R(115)", 115, 7775, 3019)],
)
@pytest.mark.slow
def test_the_real_groups_have_the_published_counts(group: str, classes: int, train: int, test: int) -> None:
    loaded = reuters.load(group=group, validation=0)
    assert (len(loaded.classes), len(loaded.train.y), len(loaded.test.y)) == (classes, train, test)
    counts = [dict(zip(loaded.classes, split.y.sum(axis=0), strict=True)) for split in (loaded.train, loaded.test)]
    published = {"earn": (2877, 1087), "acq": (1650, 719), "money-fx": (538, 179), "corn": (181, 56)}
    assert {name: tuple(count[name] for count in counts) for name in published} == published
    assert min(counts[0].values()) >= 1 and (group == "R(115)") == (min(counts[1].values()) == 0)
    if group == "R(10)":
        assert loaded.classes == TEN
    whole = reuters.load(group=group, keep_negatives=True)
    assert [len(split.y) for split in (whole.train, whole.validation, whole.test)] == [8_643, 960, 3_299]
    assert whole.classes == loaded.classes and whole.test.y.sum() == loaded.test.y.sum()


@needs_reuters
@pytest.mark.slow
@pytest.mark.skipif(not punkt_is_present(), reason="punkt_tab is not in NLTK's data (NLTK_DATA)")
def test_real_data_whole() -> None:
    loaded = reuters.load()
    sizes = [split.x.shape for split in (loaded.train, loaded.validation, loaded.test)]
    assert sizes == [(6_993, 200), (777, 200), (3_019, 200)]
    for split in (loaded.train, loaded.validation, loaded.test):
        assert split.x.min() == 0 and 19_000 < split.x.max() <= reuters.WORDS and (split.x[:, 0] > 0).all()
        assert ((split.x == 0) == (np.maximum.accumulate(split.x == 0, axis=1))).all()
    encoded = reuters.encoded_documents()
    assert encoded.documents["train"].ids.max() == 26_531
    shares = [share_untruncated(documents.lengths, 200) for documents in encoded.documents.values()]
    assert shares == pytest.approx([0.83, 0.86], abs=0.01)
