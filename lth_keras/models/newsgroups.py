"""Newsgroups-End2End: sixteen embeddings with convolutions side by side, for documents of 200 words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lth_keras.models.sizes import LayerSize, check_sizes, check_softmax, features_to_output

if TYPE_CHECKING:
    import keras

WIDTHS = (1, 4, 7, 10, 13, 16, 19, 22)
"""Kernel widths of the branches 1 to 8, in words."""

POOLS = {"a": 2, "b": 7}
"""Pooling window, and stride, of the branches a1 to a8 and b1 to b8."""


def newsgroups_end2end(
    words: int = 61_188,
    dimension: int = 300,
    tokens: int = 200,
    classes: int = 20,
    filters: int = 3,
    dropout: float = 0.5,
) -> keras.Model:
    """Build Newsgroups-End2End: 16 branches from word numbers to 3 features each, and a softmax over the classes.

    Each branch has its own embedding, a linear convolution over 1, 4, ..., 22 words without padding, average pooling
    over 2 (branches a1 to a8) or 7 positions (b1 to b8), dropout and the mean over all positions. Dropout and the
    output layer follow the 48 features. With the defaults there are 293,869,028 weights, 293,868,960 of them in tables
    and kernels; 293,702,400 are in the embeddings, 1.2 GB. `newsgroups_end2end_sizes` counts them without building.

    The padding, number 0, is treated like any word: its row is trained and pruned, and counts in the averages.
    Initialisers are Keras' defaults: uniform in [-0.05, 0.05] for embeddings, Glorot uniform for kernels, zero for
    biases. Layers are named "a1_embedding", "a1_conv", "a1_pool", "a1_dropout", "a1_mean", ..., "output".

    Args:
        words: rows of each embedding.
        dimension: columns of each embedding.
        tokens: length of a document in word numbers, at least 28: the widest kernel covers 22 words, and the widest
            pooling 7 of its outputs.
        classes: units of the output layer, at least 2.
        filters: features of each branch.
        dropout: share of values dropped in training, in [0, 1).

    Returns:
        A built model from (batch, tokens) int32 in [0, words) to probabilities (batch, classes).

    Raises:
        ValueError: if a size is not a positive integer, `tokens` or `classes` is too small, or `dropout` out of range.

    Source: "Newsgroups-End2End" of Unverzagt, 2020, appendix A; "Convolutional Neural Networks for Sentence
    Classification", Kim, 2014, has branches of several kernel widths.
    """
    import keras  # not at the top: counting does not need it

    _check(words, dimension, tokens, classes, filters)
    if not 0 <= dropout < 1:
        raise ValueError(f"Expected a `dropout` in [0, 1). Received: dropout={dropout}.")
    layers = keras.layers
    numbers = keras.Input((tokens,), dtype="int32", name="tokens")
    features = []
    for branch, width, pool in _branches():
        x = layers.Embedding(words, dimension, name=f"{branch}_embedding")(numbers)
        x = layers.Conv1D(filters, width, name=f"{branch}_conv")(x)
        x = layers.AveragePooling1D(pool, name=f"{branch}_pool")(x)
        x = layers.Dropout(dropout, name=f"{branch}_dropout")(x)
        features.append(layers.GlobalAveragePooling1D(name=f"{branch}_mean")(x))
    x = layers.Concatenate(name="features")(features)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(numbers, layers.Dense(classes, "softmax", name="output")(x), name="newsgroups_end2end")


def newsgroups_end2end_sizes(
    words: int = 61_188, dimension: int = 300, tokens: int = 200, classes: int = 20, filters: int = 3
) -> list[LayerSize]:
    """The layers of `newsgroups_end2end` with these arguments, without building it.

    Raises:
        ValueError: as in `newsgroups_end2end`.
    """
    _check(words, dimension, tokens, classes, filters)
    sizes = [LayerSize("tokens", "", (tokens,))]
    for branch, width, pool in _branches():
        places = tokens - width + 1
        pooled = (places // pool, filters)
        sizes += [
            LayerSize(f"{branch}_embedding", "embedding", (tokens, dimension), words * dimension),
            LayerSize(f"{branch}_conv", "conv", (places, filters), width * dimension * filters, filters),
            LayerSize(f"{branch}_pool", "", pooled),
            LayerSize(f"{branch}_dropout", "", pooled),
            LayerSize(f"{branch}_mean", "", (filters,)),
        ]
    return [*sizes, *features_to_output(filters * len(_branches()), classes)]


def _branches() -> list[tuple[str, int, int]]:
    """Name, kernel width and pooling window of each branch."""
    return [(f"{group}{n}", width, pool) for group, pool in POOLS.items() for n, width in enumerate(WIDTHS, start=1)]


def _check(words: int, dimension: int, tokens: int, classes: int, filters: int) -> None:
    check_sizes(words=words, dimension=dimension, tokens=tokens, classes=classes, filters=filters)
    check_softmax(classes)
    widest, window = max(WIDTHS), max(POOLS.values())
    if tokens < widest + window - 1:
        raise ValueError(
            f"Expected `tokens` of at least {widest + window - 1}: the widest kernel covers {widest} tokens, and the "
            f"widest pooling needs {window} of its outputs. Received: tokens={tokens}."
        )
