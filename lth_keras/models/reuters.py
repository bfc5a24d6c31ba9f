"""Kim's convolutional network for sentences, with a sigmoid for each topic of Reuters-21578."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lth_keras.models.sizes import LayerSize, check_sizes, features_to_output

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
    """Build Kim's network: convolutions over 3, 4 and 5 words of one embedding, global max pooling, and sigmoids.

    ReLU and global max pooling follow each convolution, which has no padding. Dropout and the output layer follow the
    300 maxima. The output is an independent probability for each class: train it with binary cross-entropy. With the
    defaults there are 6,387,690 weights, 6,000,300 of them in the embedding, 360,000 in kernels of convolutions and
    27,000 in the kernel of the output. `reuters_cnn_sizes` counts them without building.

    The padding, number 0, is treated like any word: its row is trained and pruned. The maxima include padded positions.
    So in documents with enough padding a filter's maximum is at least its output for padding alone; documents that
    fill the row have no such lower bound.

    It is the paper's "CNN-rand", with word vectors learned from random weights, but without its limit of 3 on the norm
    of the output's weights and its embedding drawn from [-0.25, 0.25]. Initialisers are Keras' defaults: uniform in
    [-0.05, 0.05] for the embedding, Glorot uniform for kernels, zero for biases. Layers are named "embedding",
    "conv_3", "max_3", "conv_4", ..., "output".

    Args:
        words: rows of the embedding, including the row of padding.
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
    import keras  # not at the top: counting does not need it

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
    """The layers of `reuters_cnn` with these arguments, without building it.

    Raises:
        ValueError: as in `reuters_cnn`.
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
    return [*sizes, *features_to_output(filters * len(WIDTHS), classes)]


def _check(words: int, dimension: int, tokens: int, classes: int, filters: int) -> None:
    check_sizes(words=words, dimension=dimension, tokens=tokens, classes=classes, filters=filters)
    if tokens < max(WIDTHS):
        raise ValueError(
            f"Expected `tokens` of at least {max(WIDTHS)}, the width of the widest kernel. Received: tokens={tokens}."
        )
