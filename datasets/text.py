"""Texts as rows of numbers: tokens, a vocabulary, word numbers, rows of one length."""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.download import require_reachable
from datasets.errors import DataUnavailable

PADDING = 0
"""Number that fills a row after the end of its document. No word has it."""

PUNKT_ADDRESS = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/index.xml"
PUNKT_REMEDY = (
    "Set NLTK_DATA to a folder that holds tokenizers/punkt_tab, or with a network run: "
    "python -c \"import nltk; nltk.download('punkt_tab')\""
)


class Documents(NamedTuple):
    """Concatenated whole documents as word numbers.

    Attributes:
        ids: shape (tokens of all documents,), int32: the index of a token's word in the vocabulary, from 1.
        offsets: shape (n + 1,), int64: document i is `ids[offsets[i] : offsets[i + 1]]`.
    """

    ids: np.ndarray
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each document, shape (n,), int64."""
        return np.diff(self.offsets)


def require_punkt(name: str) -> None:
    """Download NLTK's sentence tokeniser "punkt_tab" (English), unless it is there.

    Args:
        name: the data set that needs it, for the message.

    Raises:
        DataUnavailable: if it is absent and cannot be downloaded.
    """
    import nltk

    try:
        tokenise("Is it there?")
        return
    except LookupError:
        looked = "NLTK's tokeniser data punkt_tab are not in " + ", ".join(map(str, nltk.data.path))
    except Exception as error:
        tried = f"NLTK's tokeniser data punkt_tab cannot be read: {type(error).__name__}: {error}"
        raise DataUnavailable(name, tried, f"Delete them and load again, or others: {PUNKT_REMEDY}") from error
    require_reachable(name, PUNKT_ADDRESS, looked, PUNKT_REMEDY)
    try:
        nltk.download("punkt_tab", quiet=True, raise_on_error=True)
        tokenise("Is it there?")
    except Exception as error:
        tried = f"{looked}, and downloading them failed: {type(error).__name__}: {error}"
        raise DataUnavailable(name, tried, PUNKT_REMEDY) from error


def punkt_is_present() -> bool:
    """Search NLTK's folders for punkt_tab. NLTK's own search takes seconds, as it imports scikit-learn."""
    own = [Path(folder) for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    prefixes = [Path(prefix, part) for prefix in (sys.prefix, "/usr", "/usr/local") for part in ("", "share", "lib")]
    folders = [*own, Path("~"), *prefixes]
    places = [*own, *(folder / "nltk_data" for folder in folders)]
    return any((place.expanduser() / "tokenizers" / "punkt_tab" / "english").is_dir() for place in places)


def tokenise(text: str) -> list[str]:
    """Return the tokens of an English text in lower case: `nltk.word_tokenize`, then `str.lower`.

    Sentences are detected before lower-casing, since detection needs the case. Punctuation marks are tokens. A text
    without a token gives an empty list.
    """
    from nltk.tokenize import word_tokenize

    return [sys.intern(token.lower()) for token in word_tokenize(text)]


def encode(tokenised: Iterable[Sequence[str]], words: Sequence[str]) -> Documents:
    """Number every token by its index in `words`, from 1; other tokens are dropped.

    Args:
        tokenised: the tokens of each document.
        words: the vocabulary.
    """
    number = {word: place for place, word in enumerate(words, start=PADDING + 1)}
    ids = [np.fromiter((number[token] for token in tokens if token in number), np.int32) for tokens in tokenised]
    offsets = np.array([0, *itertools.accumulate(map(len, ids))], np.int64)
    return Documents(np.concatenate([np.empty(0, np.int32), *ids]), offsets)


def cut(documents: Documents, tokens: int) -> np.ndarray:
    """Return the first `tokens` tokens of each document, padded at the end with `PADDING`.

    Returns:
        Shape (n, tokens), int32. A document without a token is a row of padding.

    Raises:
        ValueError: if `tokens` is not an integer of 1 or more.
    """
    check_tokens(tokens)
    kept = np.minimum(documents.lengths, tokens)
    rows = np.full((len(kept), tokens), PADDING, np.int32)
    for row, start, count in zip(rows, documents.offsets, kept, strict=False):
        row[:count] = documents.ids[start : start + count]
    return rows


def most_frequent_only(documents: Documents, words: int) -> Documents:
    """Drop words with numbers above `words`. If words are numbered by frequency, the most frequent ones stay."""
    kept = documents.ids <= words
    return Documents(documents.ids[kept], np.concatenate([[0], np.cumsum(kept)])[documents.offsets])


def check_tokens(tokens: int) -> None:
    """Raise ValueError unless `tokens` is an integer of 1 or more."""
    check_count("tokens, the length of a document's row,", tokens)


def check_count(what: str, count: int) -> None:
    """Raise ValueError unless `count` is an integer of 1 or more; `what` names it in the message."""
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise ValueError(f"Expected {what} to be 1 or more. Received: {count!r}.")


def share_untruncated(lengths: np.ndarray, tokens: int) -> float:
    """Return the share of documents, in [0, 1], with at most `tokens` tokens.

    Args:
        lengths: number of tokens of each document, shape (n,).
        tokens: number of kept tokens.
    """
    return float(np.mean(np.asarray(lengths) <= tokens))


def check_documents(documents: Documents, count: int, words: int) -> None:
    """Raise ValueError unless these are `count` documents with numbers in [1, words]."""
    ids, offsets = documents
    whole = offsets.shape == (count + 1,) and offsets[0] == 0 and offsets[-1] == len(ids) and ids.ndim == 1
    if not whole or (np.diff(offsets) < 0).any():
        raise ValueError(f"Expected {count} documents. Received: offsets {offsets.shape}, tokens {ids.shape}.")
    if len(ids) and not 1 <= ids.min() <= ids.max() <= words:
        raise ValueError(f"Expected numbers in [1, {words}]. Received: from {ids.min()} to {ids.max()}.")


def most_frequent(tokenised: Iterable[Sequence[str]], limit: int) -> list[str]:
    """Return the most frequent words, at most `limit`, most frequent first, ties in alphabetical order.

    A word is a token of letters only.
    """
    counts = Counter(token for tokens in tokenised for token in tokens if token.isalpha())
    return sorted(counts, key=lambda word: (-counts[word], word))[:limit]
