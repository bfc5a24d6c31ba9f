"""A small 20 Newsgroups in the caches of scikit-learn and NLTK, written without a download."""

from __future__ import annotations

import codecs
import pickle
from pathlib import Path

import numpy as np
import pytest

from datasets import newsgroups_texts, newsgroups_vocabulary

SMALL = {"train": 60, "test": 20}
KNOWN = ("alpha", "beta", "gamma", "delta", "header", "naive")  # the words with the numbers 1 to 6
LAST = "omega"  # the 61,188th word, which has no number
GROUPS = [f"group.{group}" for group in range(20)]


def small_texts() -> dict[str, list[str]]:
    """Postings of different lengths; posting i has i + 1 known words, group i % 20."""
    rng = np.random.default_rng(0)
    return {
        split: [f"From: header\n\n{' '.join(rng.choice(KNOWN[:4], place + 1))}" for place in range(count)]
        for split, count in SMALL.items()
    }


def write_postings(folder: Path, texts: dict[str, list[str]]) -> Path:
    """Write scikit-learn's cache file in `folder`, and return it."""
    from sklearn.utils import Bunch

    cache = {
        split: Bunch(
            data=list(documents),
            target=np.arange(len(documents)) % 20,
            filenames=np.array([f"{place}" for place in range(len(documents))]),
            target_names=GROUPS,
        )
        for split, documents in texts.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / newsgroups_texts.FILE
    path.write_bytes(codecs.encode(pickle.dumps(cache), "zlib_codec"))
    return path


def vocabulary_words() -> list[str]:
    """As many words as the published vocabulary has."""
    filler = [f"filler{place}" for place in range(newsgroups_vocabulary.PUBLISHED - len(KNOWN) - 1)]
    return [*KNOWN, *filler, LAST]


def write_vocabulary(folder: Path, words: list[str]) -> Path:
    """Write the vocabulary's file below LTH_DATA_DIR, and return it."""
    path = folder / newsgroups_vocabulary.FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return path


def write_punkt(folder: Path) -> None:
    """Write a punkt_tab that knows no abbreviation: NLTK's tokeniser runs on it."""
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    for name in ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"):
        (english / name).write_text("")


def use_nltk_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let NLTK look in `folder` alone, and forget what it has read elsewhere."""
    import nltk
    from nltk import tokenize

    monkeypatch.setenv("NLTK_DATA", str(folder))
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    tokenize._get_punkt_tokenizer.cache_clear()
