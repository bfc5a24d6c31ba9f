"""Residual networks for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from lth_keras.models.sizes import check_sizes, check_softmax


def resnet(
    blocks: int = 3, filters: int = 16, input_shape: Sequence[int] = (32, 32, 3), classes: int = 10
) -> keras.Model:
    """Build a residual network of 6 * `blocks` + 2 layers: ResNet-20 by default.

    A 3x3 convolution and three stages of residual blocks follow each other; a block has two 3x3 convolutions, each with
    batch normalisation. The first block of the second and third stage halves the sides and doubles the filters, and its
    shortcut is a 1x1 convolution with batch normalisation; the other shortcuts are the identity. Global average pooling
    and a softmax end the network. Kernels of convolutions are drawn He normal, without biases.

    The paper's networks for CIFAR-10 pad such a shortcut with zeros instead (its option A).

    Args:
        blocks: residual blocks of each stage.
        filters: of the first stage.
        input_shape: height, width and channels of an image, or their product for flat images, `(height * width, )`
            with equal sides and one channel.
        classes: units of the output layer, at least 2.

    Returns:
        A built model from (batch, *input_shape) to probabilities (batch, classes).

    Raises:
        ValueError: if a size is not a positive integer, flat images are not square, or there are fewer than 2 classes.

    Source: "Deep Residual Learning for Image Recognition", He et al., 2016, section 4.2.

    Example:
        >>> resnet().count_params()
        274042
    """
    check_sizes(blocks=blocks, filters=filters, input_shape=input_shape, classes=classes)
    check_softmax(classes)
    inputs = x = keras.Input(tuple(input_shape))
    if len(input_shape) == 1:
        side = round(input_shape[0] ** 0.5)
        if side**2 != input_shape[0]:
            raise ValueError(f"Expected flat images that are square. Received: input_shape={tuple(input_shape)}.")
        x = keras.layers.Reshape((side, side, 1), name="image")(x)
    x = _convolution(x, filters, "conv", activation="relu")
    for stage in range(3):
        for block in range(blocks):
            halves = stage > 0 and block == 0
            x = _residual(x, filters * 2**stage, 2 if halves else 1, f"stage_{stage + 1}_{block + 1}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = keras.layers.Dense(classes, activation="softmax", name="output")(x)
    return keras.Model(inputs, outputs, name=f"resnet_{6 * blocks + 2}")


def _residual(x: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = x if stride == 1 else _convolution(x, filters, f"{name}_shortcut", size=1, stride=stride)
    x = _convolution(x, filters, f"{name}_a", stride=stride, activation="relu")
    x = _convolution(x, filters, f"{name}_b")
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.Add(name=f"{name}_add")([x, shortcut]))


def _convolution(x: Any, filters: int, name: str, size: int = 3, stride: int = 1, activation: str = "") -> Any:
    layer = keras.layers.Conv2D(
        filters, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(layer(x))
    return keras.layers.ReLU(name=f"{name}_relu")(x) if activation else x
