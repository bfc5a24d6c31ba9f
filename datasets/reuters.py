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
    """Return the documents of a group of categories, split as in ModApte, with a validation split drawn by the seed.

    | group | categories: those with | training documents | test documents |
    |---|---|---|---|
    | R(10) | the most training documents | 6,490 | 2,545 |
    | R(90) | a training and a test document | 7,770 | 3,019 |
    | R(115) | a training document | 7,775 | 3,019 |

    Documents of none of the group's categories are left out: with `keep_negatives` they stay, so every group has
    all 9,603 / 3,299 documents of ModApte, which Debole & Sebastiani use. The validation documents are taken out of the
    training documents at random.

    A document is its title and its body. Short notes have a title alone; some, tables and corrections among them, have
    neither, and all of their text is taken (`reuters_sgml.parse_documents`). It is tokenised by NLTK, in lower case,
    without the tokens that are not in the vocabulary, cut off after its first `tokens` words, and padded at the end.
    With 200 tokens 83% of the training documents stay whole. A document without a known word is a row of padding only.

    The vocabulary is the most frequent words (tokens of letters alone) of all 9,603 training documents of ModApte:
    the same for every seed and group; no test document is looked at. They have 26,531 different words, of which 9,407
    stand there once. Words are numbered by frequency, from 1 for the most frequent; 0 is padding alone, so an embedding
    has `words` + 1 rows. Unknown words are dropped, without a number of their own.

    Documents that are already encoded are read from packed parts (LTH_DATA_DIR/packed/reuters) where there are some.
    Otherwise the SGML files or their archive are read from LTH_DATA_DIR (`reuters_files.find_files`), and the
    tokeniser's data from NLTK's cache (NLTK_DATA); they are downloaded if they are not there. Encoding takes half a
    minute, once: its result is kept in $XDG_CACHE_HOME/lth_keras (by default ~/.cache/lth_keras). The arrays are the
    same, bit for bit.

    Args:
        seed: draws the validation split; 0 or more.
        group: of categories, "R(10)", "R(90)" or "R(115)"; "R10" and so on are the same.
        validation: share of the training documents, in [0, 1), rounded to a number of documents; 0 for none, to
            train on all of them (`without_validation` of the result is then true).
        tokens: length of a row.
        words: size of the vocabulary, at most.
        keep_negatives: keep the documents of no category of the group; their y is 0 throughout.

    Returns:
        x of shape (n, tokens), int32, in [0, words]; y of shape (n, classes), float32, 1 for the document's categories
        and 0 for the others. `classes` are in alphabetical order. `provenance` says under "read_from" where the data
        come from, and under "vocabulary" which words are known.

    Raises:
        DataUnavailable: if data cannot be found nor downloaded, or are damaged.
        ValueError: if there is no such group, the seed is negative, or a size out of range.

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
    encoded = reuters_packed.read_encoded() if packed else _encode()
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
    """Say whether the data are packed or here, without reading them."""
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
    """Download the documents and the tokeniser's data, as far as they are not there.

    Raises:
        DataUnavailable: if one of them cannot be downloaded or written.
    """
    fetch_documents()
    require_punkt(reuters_files.NAME)


def content() -> str:
    """Return what packed parts of Reuters-21578 say that they are."""
    return reuters_packed.content()


def originals() -> dict[str, np.ndarray]:
    """Return what is packed: all documents of ModApte, whole, encoded with all words of the training documents.

    Raises:
        DataUnavailable: as `load`; packed parts do not count.
    """
    return reuters_packed.to_arrays(_encode())


def _encode() -> Encoded:
    """Read the documents, downloaded where they are not there, and encode them."""
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
    """Return the documents to train on and those held out."""
    available = len(split.y)
    count = round(validation * available)
    if validation and not 0 < count < available:
        raise ValueError(
            f"{reuters_files.NAME}: Expected a share that takes some of {available} training documents and leaves "
            f"some, or 0 for no validation split. Received: {validation}, which is {count} documents."
        )
    order = generator.permutation(available) if validation else np.arange(available)
    return Split(split.x[order[count:]], split.y[order[count:]]), Split(split.x[order[:count]], split.y[order[:count]])
