"""Kim's convolutional network for sentences, with a sigmoid for each of the topics of Reuters-21578."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lth_keras.models.newsgroups import LayerSize

if TYPE_CHECKING:
    import keras

WIDTHS = (3, 4, 5)
"""Kernel widths of the convolutions side by side, in words."""


def reuters_cnn(
    words: int = 20_001,
    dimension: int = 300,
    tokens: int = 200,
    classes: int = 90,
    filters: int = 100,
    dropout: float = 0.5,
) -> keras.Model:
    """Build Kim's network: convolutions over 3, 4 and 5 words of one embedding, their maxima, and sigmoids.

    Each convolution, without padding, goes through ReLU and the maximum over all places. The 300 maxima go through
    dropout to the output, a probability for each class by itself: train it with binary cross-entropy. With the defaults
    there are 6,387,690 weights, 6,000,300 of them in the embedding, 360,000 in kernels of convolutions and 27,000 in
    that of the output. `reuters_cnn_sizes` counts them without building.

    Number 0, which pads short documents, is a word like any other: its row trains and is pruned. The maxima are
    over all places, those of padding included: what a filter gives on padding alone is the least that it gives for
    any document with as much padding as the filter is wide, however long the row is. Documents that fill the row
    know no such floor.

    It is the paper's "CNN-rand", words learned from random weights, without what it has beside: a limit of 3 on
    the norm of the output's weights, and an embedding drawn from [-0.25, 0.25]. Initialisers are Keras' own: uniform in
    [-0.05, 0.05] for the embedding, Glorot uniform for kernels, zero for biases. Layers are named "embedding",
    "conv_3", "max_3", "conv_4", ..., "output".

    Args:
        words: rows of the embedding, padding's included.
        dimension: columns of the embedding.
        tokens: length of a document in word numbers, at least 5, the widest kernel.
        classes: units of the output layer.
        filters: features of each convolution.
        dropout: share of values dropped in training, in [0, 1).

    Returns:
        A built model from (batch, tokens) int32 in [0, words) to probabilities (batch, classes).

    Raises:
        ValueError: if a size is not a positive integer, `tokens` is too small, or `dropout` out of range.

    Source: "Convolutional Neural Networks for Sentence Classification", Kim, EMNLP 2014, section 2 and 3.1.

    Example:
        >>> model = reuters_cnn(words=1_000, dimension=50)
        >>> model.output_shape
        (None, 90)
    """
    import keras  # here, since counting needs none

    _check(words, dimension, tokens, classes, filters)
    if not 0 <= dropout < 1:
        raise ValueError(f"Expected a `dropout` in [0, 1). Received: dropout={dropout}.")
    layers = keras.layers
    numbers = keras.Input((tokens,), dtype="int32", name="tokens")
    embedded = layers.Embedding(words, dimension, name="embedding")(numbers)
    maxima = []
    for width in WIDTHS:
        x = layers.Conv1D(filters, width, activation="relu", name=f"conv_{width}")(embedded)
        maxima.append(layers.GlobalMaxPooling1D(name=f"max_{width}")(x))
    x = layers.Concatenate(name="features")(maxima)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(numbers, layers.Dense(classes, "sigmoid", name="output")(x), name="reuters_cnn")


def reuters_cnn_sizes(
    words: int = 20_001, dimension: int = 300, tokens: int = 200, classes: int = 90, filters: int = 100
) -> list[LayerSize]:
    """The layers of `reuters_cnn` with these arguments, in its order, without building it.

    Raises:
        ValueError: as `reuters_cnn`.
    """
    _check(words, dimension, tokens, classes, filters)
    sizes = [
        LayerSize("tokens", "", (tokens,)),
        LayerSize("embedding", "embedding", (tokens, dimension), words * dimension),
    ]
    for width in WIDTHS:
        places = (tokens - width + 1, filters)
        sizes += [
            LayerSize(f"conv_{width}", "conv", places, width * dimension * filters, filters),
            LayerSize(f"max_{width}", "", (filters,)),
        ]
    features = filters * len(WIDTHS)
    return [
        *sizes,
        LayerSize("features", "", (features,)),
        LayerSize("dropout", "", (features,)),
        LayerSize("output", "output", (classes,), features * classes, classes),
    ]


def _check(words: int, dimension: int, tokens: int, classes: int, filters: int) -> None:
    sizes = {"words": words, "dimension": dimension, "tokens": tokens, "classes": classes, "filters": filters}
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"Expected a positive integer for `{name}`. Received: {name}={value!r}.")
    if tokens < max(WIDTHS):
        raise ValueError(
            f"Expected `tokens` of at least {max(WIDTHS)}, the width of the widest kernel. Received: tokens={tokens}."
        )
