"""Conv-2, Conv-4 and Conv-6: the convolutional networks of the lottery ticket paper, scaled-down VGG."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from lth_keras.models.sizes import check_sizes, check_softmax

BLOCKS = {"conv_2": (64,), "conv_4": (64, 128), "conv_6": (64, 128, 256)}
"""Filters of each block's two convolutions."""


def conv_2(input_shape: Sequence[int] = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Build Conv-2: one block of two 3x3 convolutions with 64 filters. See `conv_6`.

    With the defaults there are 4,301,642 weights, 38,592 of them in the kernels of convolutions and 4,262,400 in those
    of dense layers.

    Example:
        >>> conv_2().count_params()
        4301642
    """
    return vgg(BLOCKS["conv_2"], input_shape=input_shape, classes=classes, name="conv_2")


def conv_4(input_shape: Sequence[int] = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Build Conv-4: two blocks of two 3x3 convolutions, with 64 and 128 filters. See `conv_6`.

    With the defaults there are 2,425,930 weights, 259,776 of them in the kernels of convolutions and 2,165,248 in those
    of dense layers.

    Example:
        >>> conv_4().count_params()
        2425930
    """
    return vgg(BLOCKS["conv_4"], input_shape=input_shape, classes=classes, name="conv_4")


def conv_6(input_shape: Sequence[int] = (32, 32, 3), classes: int = 10) -> keras.Model:
    """Build Conv-6: three blocks of two 3x3 convolutions, with 64, 128 and 256 filters.

    Each block ends in a 2x2 max-pooling; two dense layers of 256 units and a softmax follow. With the defaults there
    are 2,262,602 weights: 1,144,512 in the kernels of convolutions and 1,116,672 in those of dense layers, which
    make 1,145,408 and 1,117,194 with their biases.

    The paper's figure 2 gives 4.3M / 38K weights in all and in convolutions for Conv-2, 2.4M / 260K for Conv-4 and
    1.7M / 1.1M for Conv-6. Zero padding ("same") reproduces the first two, and the 1.1M. Without padding Conv-2 and
    Conv-4 would have 3.3M and 1.1M, and the third block of Conv-6 would have nothing left to pool. With zero padding
    Conv-6 has 2.3M weights in all; no padding gives 1.7M. The thesis of Unverzagt, 2020, has the same counts as here.

    Args:
        input_shape: height, width and channels of an image; sides of at least 2 ** blocks.
        classes: units of the output layer, at least 2.

    Returns:
        A built Sequential model from (batch, *input_shape) to probabilities (batch, classes).

    Raises:
        ValueError: if a size is not a positive integer, the image is too small, or there are fewer than 2 classes.

    Source: "The Lottery Ticket Hypothesis", Frankle & Carbin, 2019, figure 2; "Very Deep Convolutional Networks for
    Large-Scale Image Recognition", Simonyan & Zisserman, 2014.

    Example:
        >>> conv_6().count_params()
        2262602
    """
    return vgg(BLOCKS["conv_6"], input_shape=input_shape, classes=classes, name="conv_6")


def vgg(
    blocks: Sequence[int],
    hidden: Sequence[int] = (256, 256),
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    name: str = "vgg",
) -> keras.Model:
    """Build a network of this family: blocks of two convolutions, then dense layers.

    Kernels are 3x3 and drawn Glorot normal, biases are zero, and all layers but the output have ReLU. Layers are named
    "conv_1_a", "conv_1_b", "pool_1", "conv_2_a", ..., "flatten", "dense_1", "dense_2", ..., "output".

    Args:
        blocks: filters of each block's convolutions, at least 1 each.
        hidden: units of each dense layer before the output.
        input_shape: as in `conv_6`.
        classes: units of the output layer.
        name: of the model.

    Raises:
        ValueError: as `conv_6`.
    """
    check_sizes(blocks=blocks, hidden=hidden, input_shape=input_shape, classes=classes)
    side = 2 ** len(blocks)
    if len(input_shape) != 3 or min(input_shape[:2]) < side:
        raise ValueError(
            f"Expected an `input_shape` of height, width and channels, with sides of at least {side}: each of the "
            f"{len(blocks)} blocks halves them. Received: input_shape={tuple(input_shape)}."
        )
    check_softmax(classes)
    kernels = {"kernel_initializer": "glorot_normal", "bias_initializer": "zeros"}
    layers: list[keras.Layer] = [keras.Input(tuple(input_shape))]
    for number, filters in enumerate(blocks, start=1):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv_{number}_{part}", **kernels)
            for part in "ab"
        ]
        layers.append(keras.layers.MaxPooling2D(2, name=f"pool_{number}"))
    layers.append(keras.layers.Flatten(name="flatten"))
    for number, units in enumerate(hidden, start=1):
        layers.append(keras.layers.Dense(units, activation="relu", name=f"dense_{number}", **kernels))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="output", **kernels))
    return keras.Sequential(layers, name=name)
