from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import encoding, newsgroups
from datasets.cache import content_hash, write_arrays
from datasets.text import Documents, most_frequent
from tests.datasets.newsgroups_small import vocabulary_words, write_vocabulary


def cached(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "lth_keras" / "newsgroups").glob("*.npz"))


def load(**arguments: bool | int) -> np.ndarray:
    options: dict = {"validation": 20, **arguments}
    return newsgroups.load(**options).test.x


def no_tokeniser(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> list[str]:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(encoding, "tokenise", refuse)


def test_documents_are_tokenised_once_whatever_the_cut_and_the_seed(
    small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load()
    no_tokeniser(monkeypatch)
    assert np.array_equal(load(), first)
    assert np.array_equal(load(tokens=5, seed=3), first[:, :5])
    with pytest.raises(AssertionError, match="tokenised again"):
        load(remove_quotes=True, vocabulary="training")


@pytest.mark.parametrize("part", ["texts", "vocabulary", "words", "encoder"])
def test_what_decides_the_numbers_decides_the_file(
    small_newsgroups: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    arguments: dict = {}
    load()
    if part == "texts":
        monkeypatch.setattr(newsgroups, "document", lambda text, **_: text)
    elif part == "vocabulary":
        arguments["vocabulary"] = "training"
    elif part == "words":
        write_vocabulary(small_newsgroups / "own", vocabulary_words()[::-1])
    else:
        monkeypatch.setattr(encoding, "ENCODER_VERSION", "2")
    load(**arguments)
    assert len(cached(small_newsgroups)) == 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)


def change(path: Path, **arrays: np.ndarray) -> None:
    with np.load(path) as old:
        write_arrays(path, {**old, **arrays})


def forget_a_document(path: Path) -> None:
    change(path, test_offsets=np.load(path)["test_offsets"][:-1])


def use_index_zero(path: Path) -> None:
    change(path, test_ids=np.load(path)["test_ids"] * 0)


def pickle_it(path: Path) -> None:
    content = io.BytesIO()
    np.savez(content, train_ids=np.array([{}], object))
    path.write_bytes(content.getvalue())


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_byte, forget_a_document, use_index_zero, pickle_it])
def test_a_damaged_cache_file_is_named_set_aside_and_made_again(
    small_newsgroups: Path, damage: Callable[[Path], None]
) -> None:
    first = load()
    (path,) = cached(small_newsgroups)
    good = path.read_bytes()
    damage(path)
    with pytest.warns(UserWarning, match="is damaged") as caught:
        assert np.array_equal(load(), first)
    assert str(path) in str(caught[0].message)
    assert path.read_bytes() == good and path.with_name(f"{path.name}.damaged").is_file()


def test_a_cache_that_cannot_be_written_is_said_and_harms_nothing(small_newsgroups: Path) -> None:
    first = load()
    (small_newsgroups / "cache").rename(small_newsgroups / "was")
    (small_newsgroups / "cache").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert np.array_equal(load(), first)


def test_nothing_half_made_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_arrays(tmp_path / "a.npz", {"x": np.arange(4)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_the_hash_knows_where_a_text_ends() -> None:
    assert content_hash(["ab", "c"]) != content_hash(["a", "bc"]) != content_hash(["abc"])


def test_the_most_frequent_words_are_letters_alone_and_equals_alphabetical() -> None:
    tokenised = [["b", "a", ",", ",", ",", "7"], ["c", "b", "it's"], []]
    assert most_frequent(tokenised, 2) == ["b", "a"]
    assert most_frequent(tokenised, 9) == ["b", "a", "c"]


def test_documents_know_their_lengths() -> None:
    assert Documents(np.array([1, 2, 3]), np.array([0, 2, 2, 3])).lengths.tolist() == [2, 0, 1]
