"""Reuters-21578 (Lewis, 1997), ModApte split, as rows of word numbers for an embedding and any number of topics."""

from __future__ import annotations

import numpy as np

from datasets import reuters_files, reuters_packed
from datasets.cache import data_folder
from datasets.encoding import encode_once
from datasets.packed import is_packed, origin
from datasets.reuters_files import fetch_documents, find_files, read_documents
from datasets.reuters_groups import check_group, group_places, topics_by_category
from datasets.reuters_packed import Encoded
from datasets.splits import Split, Splits, named_generator
from datasets.status import Status
from datasets.text import check_count, check_tokens, cut, most_frequent_only, punkt_is_present, require_punkt

GROUP = "R(90)"
VALIDATION = 0.1
TOKENS = 200
WORDS = 20_000
DOCUMENTS = {"train": 7_770, "test": 3_019}
"""Documents of R(90)."""


def load(
    *,
    seed: int = 0,
    group: str = GROUP,
    validation: float = VALIDATION,
    tokens: int = TOKENS,
    words: int = WORDS,
    keep_negatives: bool = False,
) -> Splits:
    """Return the documents of a group of categories, split as in ModApte; the seed draws a validation split.

    | group | categories: those with | training documents | test documents |
    |---|---|---|---|
    | R(10) | the most training documents | 6,490 | 2,545 |
    | R(90) | a training and a test document | 7,770 | 3,019 |
    | R(115) | a training document | 7,775 | 3,019 |

    Documents without a category of the group are left out. `keep_negatives` keeps them, so every group has all
    9,603 / 3,299 documents of ModApte, as in Debole & Sebastiani. Validation documents are drawn from the training
    documents.

    A document is its title and its body. Short notes have only a title. Some, such as tables and corrections, have
    neither; then all of their text is used (`reuters_sgml.parse_documents`). It is tokenised by NLTK, in lower case,
    without unknown words, truncated to its first `tokens` words, and padded at the end. With 200 tokens 83% of the
    training documents are not truncated. A document without a known word is a row of padding.

    The vocabulary is the most frequent words (tokens of letters only) of all 9,603 training documents of ModApte, the
    same for every seed and group. They have 26,531 different words, of which 9,407 occur once. Words are numbered by
    frequency, from 1 for the most frequent; 0 is padding, so an embedding has `words` + 1 rows. Unknown words are
    dropped.

    Encoded documents are read from packed parts (LTH_DATA_DIR/packed/reuters) if there are some. Otherwise the SGML
    files or their archive are read from LTH_DATA_DIR (`reuters_files.find_files`), and the tokeniser's data from NLTK's
    cache (NLTK_DATA); absent data are downloaded. Encoding takes half a minute; the result is cached in
    $XDG_CACHE_HOME/lth_keras (by default ~/.cache/lth_keras). The arrays are bit-identical.

    Args:
        seed: draws the validation split; 0 or more.
        group: of categories, "R(10)", "R(90)" or "R(115)"; "R10" and the like are accepted.
        validation: share of the training documents, in [0, 1), rounded to a number of documents; 0 for no validation
            split, to train on all of them (`without_validation` of the result is then true).
        tokens: length of a row.
        words: largest size of the vocabulary.
        keep_negatives: keep documents without a category of the group; all of their y is 0.

    Returns:
        x of shape (n, tokens), int32, in [0, words]; y of shape (n, classes), float32, 1 for the document's categories
        and 0 for the others. `classes` are in alphabetical order. In `provenance`, "read_from" names the source of the
        data, and "vocabulary" describes the vocabulary.

    Raises:
        DataUnavailable: if data are absent and cannot be downloaded, or are damaged.
        ValueError: if there is no such group, the seed is negative, or a size is out of range.

    Source: "Reuters-21578, Distribution 1.0", Lewis, 1997, for research purposes only; the groups are those of "An
    analysis of the relative hardness of Reuters-21578 subsets", Debole & Sebastiani, JASIST 2005.
    """
    group = check_group(group)
    check_tokens(tokens)
    check_count("words, the size of the vocabulary,", words)
    if isinstance(validation, bool) or not 0 <= validation < 1:
        raise ValueError(
            f"{reuters_files.NAME}: Expected the validation split as a share of the training documents, in [0, 1). "
            f"Received: {validation!r}."
        )
    generator = named_generator(seed, "reuters/validation")
    packed = is_packed(reuters_packed.NAME)
    encoded = reuters_packed.read_encoded() if packed else encoded_documents()
    places = group_places(group, encoded.topics["train"], encoded.topics["test"])

    def part(split: str) -> Split:
        y = encoded.topics[split][:, places]
        kept = np.flatnonzero(y.any(axis=1) | keep_negatives)
        x = cut(most_frequent_only(encoded.documents[split], words), tokens)
        return Split(x[kept], y[kept].astype(np.float32))

    train, held_out = _draw(part("train"), validation, generator)
    known = min(words, int(encoded.documents["train"].ids.max(initial=0)))
    vocabulary = f"the {known:,} most frequent words of the {reuters_files.COUNTS['train']:,} training documents"
    return Splits(
        name="reuters",
        train=train,
        validation=held_out,
        test=part("test"),
        classes=tuple(encoded.categories[place] for place in places),
        x_meaning=(
            f"(n, {tokens}) int32: the first {tokens} known words of a document as numbers 1 to {known:,}, then 0; "
            f"vocabulary: {vocabulary}"
        ),
        y_meaning=f"(n, {len(places)}) float32: 1 for a document's categories among those of {group}, else 0",
        without_validation=validation == 0,
        provenance={
            "vocabulary": vocabulary,
            "read_from": origin(reuters_packed.NAME) if packed else f"{find_files()} (LTH_DATA_DIR)",
        },
    )


def status() -> Status:
    """Return whether the data are packed or in a cache, without reading them."""
    found = find_files()
    packed = is_packed(reuters_packed.NAME)
    held_out = round(VALIDATION * DOCUMENTS["train"])
    files = found or data_folder() / reuters_files.FOLDER
    return Status(
        reuters_packed.NAME,
        present=packed or (found is not None and punkt_is_present()),
        where=origin(reuters_packed.NAME) if packed else f"{files} (LTH_DATA_DIR), punkt_tab (NLTK_DATA)",
        counts=f"{DOCUMENTS['train'] - held_out:,} / {held_out:,} / {DOCUMENTS['test']:,}",
    )


def fetch() -> None:
    """Download the documents and the tokeniser's data, unless they are there.

    Raises:
        DataUnavailable: if one of them cannot be downloaded or written.
    """
    fetch_documents()
    require_punkt(reuters_files.NAME)


def content() -> str:
    """Return the description in packed parts of Reuters-21578."""
    return reuters_packed.content()


def originals() -> dict[str, np.ndarray]:
    """Return the arrays to pack: all whole documents of ModApte, encoded with all words of the training documents.

    Raises:
        DataUnavailable: as in `load`; does not read packed parts.
    """
    return reuters_packed.to_arrays(encoded_documents())


def encoded_documents() -> Encoded:
    """Read the documents, downloaded if absent, and encode them."""
    fetch_documents()
    documents = read_documents()
    categories = sorted({topic for split in documents.values() for document in split for topic in document.topics})
    texts = {name: [document.text for document in split] for name, split in documents.items()}
    return Encoded(
        encode_once(reuters_packed.NAME, texts, None, reuters_packed.WORDS),
        {name: topics_by_category([d.topics for d in split], categories) for name, split in documents.items()},
        tuple(categories),
    )


def _draw(split: Split, validation: float, generator: np.random.Generator) -> tuple[Split, Split]:
    """Return the training and the validation documents."""
    available = len(split.y)
    count = round(validation * available)
    if validation and not 0 < count < available:
        raise ValueError(
            f"{reuters_files.NAME}: Expected a share that takes some of {available} training documents and leaves "
            f"some, or 0 for no validation split. Received: {validation}, which is {count} documents."
        )
    order = generator.permutation(available) if validation else np.arange(available)
    return Split(split.x[order[count:]], split.y[order[count:]]), Split(split.x[order[:count]], split.y[order[:count]])
