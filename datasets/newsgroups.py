"""20 Newsgroups (Lang, 1995), "bydate" split, as rows of word numbers for an embedding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datasets import newsgroups_packed, newsgroups_texts, newsgroups_vocabulary
from datasets.encoding import encode_once
from datasets.errors import DataUnavailable
from datasets.newsgroups_packed import PACKED, Encoded
from datasets.newsgroups_texts import NAME, document, fetch_postings, postings_file, read_postings
from datasets.newsgroups_vocabulary import Source, Vocabulary, find_vocabulary
from datasets.packed import is_packed, origin
from datasets.splits import Split, Splits, named_generator
from datasets.status import Status
from datasets.text import check_tokens, cut, punkt_is_present, require_punkt

ROWS = 61_188
"""Rows of the embedding: the number of published words. Row 0 is for padding, so the last word has no row."""

WORDS = ROWS - 1
VALIDATION = 1_131
TOKENS = 200
GROUPS = 20


def load(
    *,
    seed: int = 0,
    validation: int = VALIDATION,
    tokens: int = TOKENS,
    remove_footers: bool = False,
    remove_quotes: bool = False,
    vocabulary: Source | None = None,
) -> Splits:
    """Return 20 Newsgroups as 11,314 - `validation` / `validation` / 7,532 documents.

    A document is a posting without its header (`newsgroups_texts.document`), tokenised by NLTK, in lower case, without
    unknown words, truncated to its first `tokens` words, and padded at the end. The published vocabulary has no
    numbers, no punctuation and no words with letters beyond ASCII.

    Words have the numbers 1 to 61,187, and 0 is padding. So an embedding has 61,188 rows, the size of the published
    vocabulary, whose last word ("etrbom") is left out. A document without a known word is a row of padding.

    Encoded documents are read from packed parts (LTH_DATA_DIR/packed/newsgroups) if there are some; these have the
    published vocabulary, footers and quotations. Otherwise postings are read from scikit-learn's cache
    (SCIKIT_LEARN_DATA, by default ~/scikit_learn_data), the tokeniser's data from NLTK's (NLTK_DATA), the vocabulary
    from newsgroups/vocabulary.txt in LTH_DATA_DIR; absent data are downloaded. Encoding takes about a minute; the
    result is cached in $XDG_CACHE_HOME/lth_keras (by default ~/.cache/lth_keras). The arrays are bit-identical.

    The test documents are those of the data set, later than the others. The seed draws the validation documents from
    the 11,314 training documents, stratified by group.

    Args:
        seed: draws the validation split; 0 or more.
        validation: number of validation documents, in [20, 11294]; 0 for no validation split, to train on all 11,314
            documents (`without_validation` of the result is then true).
        tokens: length of a row.
        remove_footers: remove what looks like a signature.
        remove_quotes: remove quotations of other postings.
        vocabulary: "published"; "training" for the 61,187 most frequent words of the 11,314 training documents; None
            for the published one if it is available, else the other with a warning.

    Returns:
        x of shape (n, tokens), int32, in [0, 61187]; y of shape (n,), int32, the group, in [0, 19]. In `provenance`,
        "vocabulary_source" and "vocabulary" (a sentence) name the vocabulary, and "read_from" the source of the data.

    Raises:
        DataUnavailable: if data are absent and cannot be downloaded, or are damaged.
        ValueError: if the seed is negative, a size is out of range, or there is no such vocabulary.

    Source: "NewsWeeder: Learning to filter netnews", Lang, ICML 1995; the "bydate" version and the vocabulary are Jason
    Rennie's, qwone.com/~jason/20Newsgroups.
    """
    check_tokens(tokens)
    _check_validation(validation)
    generator = named_generator(seed, "newsgroups/validation")
    words, encoded, read_from = _encoded(remove_footers, remove_quotes, vocabulary)
    x = {split: cut(documents, tokens) for split, documents in encoded.documents.items()}
    y = encoded.labels
    train, held_out = _draw(y["train"], validation, generator)
    return Splits(
        name="newsgroups",
        train=Split(x["train"][train], y["train"][train]),
        validation=Split(x["train"][held_out], y["train"][held_out]),
        test=Split(x["test"], y["test"]),
        classes=encoded.groups,
        x_meaning=(
            f"(n, {tokens}) int32: the first {tokens} known words of a document as numbers 1 to {WORDS:,}, then 0; "
            f"vocabulary: {words.description}"
        ),
        y_meaning=f"(n,) int32: the group, 0 to {GROUPS - 1}",
        without_validation=validation == 0,
        provenance={
            "vocabulary_source": words.source,
            "vocabulary": words.description,
            "read_from": read_from,
        },
    )


class Lengths(NamedTuple):
    """Number of known words of each document before truncation: shape (11314,) and (7532,), int64."""

    train: np.ndarray
    test: np.ndarray


def lengths(*, remove_footers: bool = False, remove_quotes: bool = False, vocabulary: Source | None = None) -> Lengths:
    """Return the number of known words of each training and test document before truncation.

    `datasets.text.share_untruncated` gives the share of documents that are not truncated.

    Args and raises: as in `load`.
    """
    _, (documents, _, _), _ = _encoded(remove_footers, remove_quotes, vocabulary)
    return Lengths(documents["train"].lengths, documents["test"].lengths)


def status() -> Status:
    """Return whether the data are packed or in a cache, without reading them, and which vocabulary is available."""
    counts = newsgroups_texts.COUNTS
    packed = is_packed(newsgroups_packed.NAME)
    found = newsgroups_vocabulary.vocabulary_file()
    words = f"vocabulary {found}" if found else f"no {newsgroups_vocabulary.FILE}: from training documents"
    original = f"{postings_file()} (SCIKIT_LEARN_DATA), {words} (LTH_DATA_DIR), punkt_tab (NLTK_DATA)"
    return Status(
        newsgroups_packed.NAME,
        present=packed or (postings_file().is_file() and punkt_is_present()),
        where=origin(newsgroups_packed.NAME) if packed else original,
        counts=f"{counts['train'] - VALIDATION:,} / {VALIDATION:,} / {counts['test']:,}",
    )


def fetch() -> None:
    """Download postings, vocabulary and the tokeniser's data, unless they are there.

    Raises:
        DataUnavailable: if one of them cannot be downloaded or written.
    """
    fetch_postings()
    require_punkt(NAME)
    newsgroups_vocabulary.fetch_vocabulary()


def content() -> str:
    """Return the description in packed parts of 20 Newsgroups."""
    return newsgroups_packed.content()


def originals() -> dict[str, np.ndarray]:
    """Return the arrays to pack: all documents, encoded with the published vocabulary, and that vocabulary.

    Documents are whole, with footers and quotations.

    Raises:
        DataUnavailable: as in `load`, also if the published vocabulary is unavailable; does not read packed parts.
    """
    vocabulary = find_vocabulary("published", WORDS, use_packed=False)
    encoded = _encode(False, False, vocabulary)
    file = newsgroups_vocabulary.vocabulary_file()
    assert file is not None
    return newsgroups_packed.to_arrays(encoded, file.read_bytes())


def _encoded(remove_footers: bool, remove_quotes: bool, source: Source | None) -> tuple[Vocabulary, Encoded, str]:
    """Return the vocabulary, the documents, and their source."""
    vocabulary = find_vocabulary(source, WORDS)
    packed = is_packed(newsgroups_packed.NAME)
    if packed and vocabulary.source == "published" and not remove_footers and not remove_quotes:
        return vocabulary, newsgroups_packed.read_encoded(), origin(newsgroups_packed.NAME)
    try:
        return vocabulary, _encode(remove_footers, remove_quotes, vocabulary), f"{postings_file()} (SCIKIT_LEARN_DATA)"
    except DataUnavailable as error:
        if not packed:
            raise
        asked = {"vocabulary": vocabulary.source, "remove_footers": remove_footers, "remove_quotes": remove_quotes}
        parts = f"the {origin(newsgroups_packed.NAME)} hold {PACKED}"
        tried = f"{parts}, and what is asked for is {asked}, for which the postings are needed: {error.tried}"
        raise DataUnavailable(NAME, tried, error.remedy) from error


def _encode(remove_footers: bool, remove_quotes: bool, vocabulary: Vocabulary) -> Encoded:
    """Read the postings, downloaded if absent, and encode them."""
    fetch_postings()
    postings = read_postings()
    texts = {
        split: [document(text, remove_footers=remove_footers, remove_quotes=remove_quotes) for text in texts]
        for split, texts in postings.texts.items()
    }
    documents = encode_once("newsgroups", texts, vocabulary.words, WORDS)
    return Encoded(documents, postings.labels, postings.groups)


def _draw(labels: np.ndarray, validation: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of training and of validation documents, stratified by group."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    if validation == 0:
        return everything, everything[:0]
    state = int(generator.integers(2**31))
    train, held_out = train_test_split(everything, test_size=validation, stratify=labels, random_state=state)
    return train, held_out


def _check_validation(validation: int) -> None:
    most = newsgroups_texts.COUNTS["train"] - GROUPS
    if validation != 0 and not GROUPS <= validation <= most:
        raise ValueError(
            f"{NAME}: Expected a validation size in [{GROUPS}, {most}], so that each of {GROUPS} groups is in each "
            f"split, or 0 for no validation split. Received: {validation}."
        )
