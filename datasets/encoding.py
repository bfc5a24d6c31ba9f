"""Encodes texts once and caches the result, since tokenising takes a minute."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version

from datasets.cache import cache_folder, content_hash, read_arrays, set_aside, write_arrays
from datasets.text import Documents, check_documents, encode, most_frequent, require_punkt, tokenise

ENCODER_VERSION = "1"
"""To be raised when the same texts and words give other numbers than before."""


def encode_once(
    name: str, texts: Mapping[str, Sequence[str]], words: Sequence[str] | None, limit: int
) -> dict[str, Documents]:
    """Tokenise and encode the texts of each split, or read the cached result.

    The cache is a file in `cache_folder()`/<name>/, named by a hash of the texts, the words, the version of NLTK and
    `ENCODER_VERSION`. A damaged file is renamed with a warning and made again. If the folder cannot be written, a
    warning says so.

    Args:
        name: the data set.
        texts: the texts of each split.
        words: the vocabulary; None builds one from the split "train", of its most frequent words.
        limit: largest size of the vocabulary.

    Returns:
        The whole documents of each split, with numbers in [1, limit].

    Raises:
        DataUnavailable: if NLTK's punkt_tab is needed, absent, and cannot be downloaded.
    """
    path = cache_folder() / name / f"encoded-{_key(texts, words, limit)}.npz"
    fields = [f"{split}_{field}" for split in texts for field in Documents._fields]
    try:
        arrays = read_arrays(path, fields)
        if arrays is not None:
            found = {split: Documents(arrays[f"{split}_ids"], arrays[f"{split}_offsets"]) for split in texts}
            for split, documents in found.items():
                check_documents(documents, len(texts[split]), limit)
            return found
    except (ValueError, OSError) as error:
        set_aside(path, error)
    made = _encode(name, texts, words, limit)
    contents = {f"{split}_{field}": array for split in made for field, array in made[split]._asdict().items()}
    try:
        write_arrays(path, contents)
    except OSError as error:
        warnings.warn(f"{name}: the encoded texts cannot be kept for the next time: {error}", stacklevel=2)
    return made


def _key(texts: Mapping[str, Sequence[str]], words: Sequence[str] | None, limit: int) -> str:
    parts = [f"encoder {ENCODER_VERSION}", f"nltk {version('nltk')}", f"limit {limit}"]
    parts.append("words of the training split" if words is None else f"{len(words)} words")
    parts.extend(words or ())
    for split, documents in texts.items():
        parts.extend([f"{split}: {len(documents)} documents", *documents])
    return content_hash(parts)


def _encode(
    name: str, texts: Mapping[str, Sequence[str]], words: Sequence[str] | None, limit: int
) -> dict[str, Documents]:
    require_punkt(name)
    total = sum(map(len, texts.values()))
    tokenised: dict[str, list[list[str]]] = {split: [] for split in texts}
    everything = ((split, text) for split, documents in texts.items() for text in documents)
    for split, text in _shown(everything, f"{name}: tokenising {total:,} documents, once", total):
        tokenised[split].append(tokenise(text))
    if words is None:
        words = most_frequent(tokenised["train"], limit)
    return {split: encode(documents, words) for split, documents in tokenised.items()}


def _shown(items: Iterable[tuple[str, str]], label: str, total: int) -> Iterable[tuple[str, str]]:
    """Yield the items and show progress on standard error; only one line if it is not a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(label, markup=False, highlight=False, soft_wrap=True)
    return track(items, label, total, console=console, disable=not console.is_terminal)
