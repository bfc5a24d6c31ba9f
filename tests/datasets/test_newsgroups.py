from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import DataUnavailable, newsgroups, newsgroups_texts, newsgroups_vocabulary
from datasets.newsgroups_texts import read_postings
from datasets.newsgroups_vocabulary import find_vocabulary
from datasets.text import cut, encode, share_untruncated, tokenise
from tests.datasets import newsgroups_small as small
from tests.datasets.serving import serve

needs_newsgroups = pytest.mark.skipif(
    not newsgroups_texts.postings_file().is_file()
    or not newsgroups.status().present
    or newsgroups_vocabulary.vocabulary_file() is None,
    reason="20 Newsgroups is not in scikit-learn's cache (SCIKIT_LEARN_DATA), or punkt_tab not in NLTK's (NLTK_DATA), "
    "or there is no published vocabulary (LTH_DATA_DIR)",
)


def load(**arguments: Any) -> Any:
    return newsgroups.load(**{"validation": 20, **arguments})


def row_of(folder: Path, posting: str, **arguments: Any) -> list[int]:
    """The row of a posting, without the padding at its end."""
    texts = small.small_texts()
    texts["test"][7] = posting
    small.write_postings(folder / "sklearn", texts)
    row = load(**arguments).test.x[7].tolist()
    while row and row[-1] == 0:
        row.pop()
    return row


def test_sizes_types_and_range(small_newsgroups: Path) -> None:
    loaded = load(tokens=30)
    assert [split.x.shape for split in (loaded.train, loaded.validation, loaded.test)] == [(40, 30), (20, 30), (20, 30)]
    assert loaded.train.x.dtype == np.int32 and loaded.train.y.dtype == np.int32
    assert loaded.classes == tuple(small.GROUPS)
    assert load().train.x.shape == (40, 200)


def test_rows_are_the_documents_in_order_with_their_labels(small_newsgroups: Path) -> None:
    loaded = load(tokens=10)
    for place, (text, row) in enumerate(zip(small.small_texts()["test"], loaded.test.x, strict=True)):
        words = text.partition("\n\n")[2].split()[:10]
        assert row.tolist() == [1 + small.KNOWN.index(word) for word in words] + [0] * (10 - len(words))
        assert loaded.test.y[place] == place % 20


def test_train_and_validation_are_a_partition_with_every_group_in_its_share(small_newsgroups: Path) -> None:
    loaded = load(tokens=60)
    # The documents have 1, 2, ..., 60 words, so a row's length tells which it is.
    lengths = {name: (getattr(loaded, name).x > 0).sum(axis=1) for name in ("train", "validation")}
    assert sorted([*lengths["train"], *lengths["validation"]]) == list(range(1, 61))
    for name, length in lengths.items():
        assert np.array_equal(getattr(loaded, name).y, (length - 1) % 20)
    assert np.bincount(loaded.validation.y).tolist() == [1] * 20


def test_the_seed_draws_the_validation_split_and_never_the_test_split(small_newsgroups: Path) -> None:
    first, second, again = load(seed=0), load(seed=1), load(seed=0)
    assert np.array_equal(first.test.x, second.test.x)
    assert not np.array_equal(first.validation.x, second.validation.x)
    assert np.array_equal(first.validation.x, again.validation.x) and np.array_equal(first.train.x, again.train.x)


def test_without_validation_every_training_document_is_trained_on(small_newsgroups: Path) -> None:
    loaded = load(validation=0, tokens=60)
    assert loaded.without_validation and loaded.validation.x.shape == (0, 60)
    assert (loaded.train.x > 0).sum(axis=1).tolist() == list(range(1, 61))
    assert not load().without_validation


@pytest.mark.parametrize("validation", [-1, 1, 19, 41, 60])
def test_an_impossible_validation_size_is_an_error(small_newsgroups: Path, validation: int) -> None:
    with pytest.raises(ValueError, match=f"Received: {validation}"):
        load(validation=validation)


@pytest.mark.parametrize("tokens", [0, -200, 1.5, True])
def test_an_impossible_row_length_is_an_error(small_newsgroups: Path, tokens: Any) -> None:
    with pytest.raises(ValueError, match=f"Received: {tokens}"):
        load(tokens=tokens)


def test_a_negative_seed_and_an_unknown_vocabulary_are_errors(small_newsgroups: Path) -> None:
    with pytest.raises(ValueError, match="seed=-1"):
        load(seed=-1)
    with pytest.raises(ValueError, match="Received: 'mine'"):
        load(vocabulary="mine")


def test_paragraphs_stay_apart_and_the_header_is_gone(small_newsgroups: Path) -> None:
    assert row_of(small_newsgroups, "Header: header\n\nalpha BETA\n\ngamma,\n\n\ndelta. Alpha") == [1, 2, 3, 4, 1]


def test_unknown_words_and_the_last_word_of_the_vocabulary_are_dropped(small_newsgroups: Path) -> None:
    assert row_of(small_newsgroups, f"\nalpha unheard 7 {small.LAST} beta !") == [1, 2]
    filler = small.vocabulary_words()[-2]
    assert row_of(small_newsgroups, f"\n{filler}") == [61_187]


@pytest.mark.parametrize("posting", ["", "From: header\n\n", "From: header\n\n \n\n", "From: header\n\nunheard"])
def test_a_document_without_a_known_word_is_padding_only(small_newsgroups: Path, posting: str) -> None:
    assert row_of(small_newsgroups, posting) == []


def test_a_document_without_an_empty_line_is_kept_whole(small_newsgroups: Path) -> None:
    assert row_of(small_newsgroups, "Header alpha\nbeta") == [5, 1, 2]


def test_letters_beyond_ascii_make_a_word_unknown_and_harm_no_other(small_newsgroups: Path) -> None:
    assert row_of(small_newsgroups, "\nalpha naïve \x00\x96 Ünheard \ud800 beta") == [1, 2]


def test_footers_and_quotations_are_left_out_where_asked(small_newsgroups: Path) -> None:
    posting = "From: header\n\nIn article 1 alpha\nbeta writes:\n> gamma\ndelta\n--\nalpha beta"
    assert row_of(small_newsgroups, posting) == [1, 2, 3, 4, 1, 2]
    assert row_of(small_newsgroups, posting, remove_footers=True) == [1, 2, 3, 4]
    assert row_of(small_newsgroups, posting, remove_quotes=True) == [4, 1, 2]
    assert row_of(small_newsgroups, posting, remove_quotes=True, remove_footers=True) == [4]


def test_lengths_are_those_before_the_cut(small_newsgroups: Path) -> None:
    found = newsgroups.lengths()
    assert found.train.tolist() == list(range(1, 61)) and found.test.tolist() == list(range(1, 21))
    assert share_untruncated(found.test, 15) == 0.75


def test_the_published_vocabulary_is_said(small_newsgroups: Path) -> None:
    loaded = load()
    assert loaded.provenance["vocabulary_source"] == "published"
    assert "61,187 of the 61,188" in loaded.x_meaning


def without_the_published_one(folder: Path) -> None:
    (folder / "own" / newsgroups_vocabulary.FILE).unlink()


def test_without_the_published_vocabulary_one_of_the_training_split_is_used_and_said(small_newsgroups: Path) -> None:
    without_the_published_one(small_newsgroups)
    texts = {"train": ["\nbeta , beta alpha 7"] + ["\nrare beta alpha"] * 59, "test": ["\nTest beta"] * 20}
    small.write_postings(small_newsgroups / "sklearn", texts)
    with pytest.warns(UserWarning, match="(?s)vocabulary built from the training documents.*127.0.0.1:9.*LTH_DATA_DIR"):
        loaded = load(validation=0, tokens=4)
    assert loaded.train.x[:2].tolist() == [[1, 1, 2, 0], [3, 1, 2, 0]]
    assert loaded.test.x[0].tolist() == [1, 0, 0, 0]
    assert loaded.provenance["vocabulary_source"] == "training"
    assert "NOT the published" in loaded.x_meaning and "NOT the published" in loaded.provenance["vocabulary"]


def test_the_published_vocabulary_is_never_replaced_where_it_is_asked_for(small_newsgroups: Path) -> None:
    without_the_published_one(small_newsgroups)
    with pytest.raises(DataUnavailable, match="vocabulary='training'"):
        load(vocabulary="published")


def test_the_vocabulary_of_the_training_split_is_used_where_it_is_asked_for(small_newsgroups: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(vocabulary="training").provenance["vocabulary_source"] == "training"
    assert load().provenance["vocabulary_source"] == "published"


def test_a_vocabulary_that_can_be_downloaded_is(small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = small_newsgroups / "own" / newsgroups_vocabulary.FILE
    served = file.rename(small_newsgroups / "served.txt")
    serve(monkeypatch, {newsgroups_vocabulary.ADDRESS: served})
    assert load().provenance["vocabulary_source"] == "published"
    assert file.read_bytes() == served.read_bytes()


def test_a_downloaded_page_that_is_no_vocabulary_is_not_kept(
    small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_published_one(small_newsgroups)
    page = small_newsgroups / "page.html"
    page.write_text("<p>moved</p>")
    serve(monkeypatch, {newsgroups_vocabulary.ADDRESS: page})
    with pytest.raises(DataUnavailable, match="61,188 different words"):
        load(vocabulary="published")
    assert list((small_newsgroups / "own" / "newsgroups").iterdir()) == []


WORDS = small.vocabulary_words()


@pytest.mark.parametrize("words", [WORDS[:-1], [*WORDS, "more"], [*WORDS[:-1], "alpha"], ["", *WORDS[1:]], []])
@pytest.mark.parametrize("source", ["published", None])
def test_a_damaged_vocabulary_is_one_clear_error(small_newsgroups: Path, words: list[str], source: Any) -> None:
    path = small.write_vocabulary(small_newsgroups / "own", words)
    with pytest.raises(DataUnavailable, match=r"Expected 61,188 different words.*Received: \d") as error:
        load(vocabulary=source)
    assert str(path) in str(error.value) and "Delete that file" in str(error.value)


def test_a_vocabulary_that_is_no_text_is_one_clear_error(small_newsgroups: Path) -> None:
    (small_newsgroups / "own" / newsgroups_vocabulary.FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataUnavailable, match="Delete that file"):
        load()


def test_no_postings_and_no_network_is_one_clear_error(small_newsgroups: Path) -> None:
    (small_newsgroups / "sklearn" / newsgroups_texts.FILE).unlink()
    with pytest.raises(DataUnavailable) as error:
        load()
    message = str(error.value)
    for part in (newsgroups_texts.FILE, "127.0.0.1:9", "SCIKIT_LEARN_DATA", "experiments.digits_lenet_fcn"):
        assert part in message
    assert isinstance(error.value.__cause__, OSError)
    assert not newsgroups.status().present


def test_a_download_of_postings_that_breaks_off_leaves_nothing(
    small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn.datasets

    def broken(data_home: Path) -> None:
        (data_home / newsgroups_texts.FILE).write_bytes(b"half")
        raise ConnectionError("the line went dead")

    (small_newsgroups / "sklearn" / newsgroups_texts.FILE).unlink()
    monkeypatch.setattr(newsgroups_texts, "require_reachable", lambda *_: None)
    monkeypatch.setattr(sklearn.datasets, "fetch_20newsgroups", broken)
    with pytest.raises(DataUnavailable, match="the line went dead"):
        newsgroups.fetch()
    assert list((small_newsgroups / "sklearn").iterdir()) == []


def test_downloaded_postings_end_up_in_the_cache(small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    file = small_newsgroups / "sklearn" / newsgroups_texts.FILE
    content = file.read_bytes()
    file.unlink()
    monkeypatch.setattr(newsgroups_texts, "require_reachable", lambda *_: None)
    monkeypatch.setattr(
        sklearn.datasets, "fetch_20newsgroups", lambda data_home: (data_home / file.name).write_bytes(content)
    )
    newsgroups.fetch()
    assert file.read_bytes() == content and list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_damaged_postings_are_one_clear_error(small_newsgroups: Path, capfd: Any, keep: float) -> None:
    path = small_newsgroups / "sklearn" / newsgroups_texts.FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DataUnavailable) as error:
        load()
    assert str(path) in str(error.value) and "Delete that file" in str(error.value)
    assert "zlib" in str(error.value) and capfd.readouterr().out == ""


def test_too_few_postings_are_an_error(small_newsgroups: Path) -> None:
    texts = small.small_texts()
    small.write_postings(small_newsgroups / "sklearn", texts | {"train": texts["train"][:-1]})
    with pytest.raises(DataUnavailable, match="Expected 60 postings .* in split 'train'"):
        load()


def test_no_tokeniser_data_and_no_network_is_one_clear_error(
    small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_newsgroups / "empty").mkdir()
    small.use_nltk_data(small_newsgroups / "empty", monkeypatch)
    with pytest.raises(DataUnavailable) as error:
        load()
    for part in ("punkt_tab", "NLTK_DATA", "127.0.0.1:9", str(small_newsgroups / "empty")):
        assert part in str(error.value)


def test_damaged_tokeniser_data_are_one_clear_error(small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = small_newsgroups / "nltk" / "tokenizers" / "punkt_tab" / "english" / "ortho_context.tab"
    table.write_text("half a li")
    small.use_nltk_data(small_newsgroups / "nltk", monkeypatch)
    with pytest.raises(DataUnavailable, match="punkt_tab cannot be read"):
        load()


def test_the_status_says_which_vocabulary_there_is(small_newsgroups: Path) -> None:
    assert newsgroups.status().present and str(small_newsgroups / "own") in newsgroups.status().where
    without_the_published_one(small_newsgroups)
    assert "from training documents" in newsgroups.status().where


@needs_newsgroups
def test_real_postings_are_complete() -> None:
    postings = read_postings()
    assert [len(postings.texts[split]) for split in ("train", "test")] == [11_314, 7_532]
    assert postings.groups[0] == "alt.atheism" and postings.groups[-1] == "talk.religion.misc"
    assert np.bincount(postings.labels["train"]).tolist()[:4] == [480, 584, 591, 590]
    assert np.bincount(postings.labels["test"]).tolist()[-4:] == [364, 376, 310, 251]


@needs_newsgroups
@pytest.mark.slow
def test_about_seventy_percent_of_a_sample_of_real_documents_fit_in_200_tokens() -> None:
    words = find_vocabulary("published", newsgroups.WORDS).words
    assert words is not None
    sample = [newsgroups_texts.document(posting) for posting in read_postings().texts["train"][::15]]
    documents = encode(map(tokenise, sample), words)
    assert share_untruncated(documents.lengths, 200) == pytest.approx(0.70, abs=0.04)
    rows = cut(documents, 200)
    filled = (rows > 0).sum(axis=1)
    assert np.array_equal(filled, np.minimum(documents.lengths, 200))
    assert all((row[:count] > 0).all() for row, count in zip(rows, filled, strict=True))


@needs_newsgroups
@pytest.mark.slow
def test_real_data_whole() -> None:
    loaded = newsgroups.load(vocabulary="published")
    sizes = [split.x.shape for split in (loaded.train, loaded.validation, loaded.test)]
    assert sizes == [(10_183, 200), (1_131, 200), (7_532, 200)]
    for split in (loaded.train, loaded.validation, loaded.test):
        assert split.x.min() == 0 and 50_000 < split.x.max() < newsgroups.ROWS
        assert ((split.x == 0) == (np.maximum.accumulate(split.x == 0, axis=1))).all()
    for length in newsgroups.lengths(vocabulary="published"):
        assert share_untruncated(length, 200) == pytest.approx(0.69, abs=0.01)
