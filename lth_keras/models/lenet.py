"""LeNet-300-100: the fully connected network of the lottery ticket paper."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from lth_keras.models.sizes import check_sizes, check_softmax


def lenet_300_100(
    input_shape: Sequence[int] = (784,),
    classes: int = 10,
    hidden: Sequence[int] = (300, 100),
    kernel_initializer: str = "glorot_normal",
) -> keras.Model:
    """Build LeNet-300-100: dense layers with ReLU, and a softmax over the classes.

    Kernels are drawn Glorot normal by default, and biases are zero; `keras.utils.set_random_seed` makes the draws
    reproducible. With the defaults there are 266,610 weights, 266,200 of them in kernels. Layers are named "hidden_1",
    "hidden_2", ..., "output".

    Args:
        input_shape: shape of one example; flattened if it has more than one axis.
        classes: units of the output layer, at least 2.
        hidden: units of each hidden layer, at least 1 each; empty for a linear classifier.
        kernel_initializer: of all layers, by Keras' name; `he_normal` is Kaiming normal, truncated.

    Returns:
        A built Sequential model from (batch, *input_shape) to probabilities (batch, classes).

    Raises:
        ValueError: if a size is not a positive integer, or there are fewer than 2 classes.

    Source: "Gradient-based learning applied to document recognition", LeCun et al., 1998; layer
    sizes and initialisation as in "The Lottery Ticket Hypothesis", Frankle & Carbin, 2019,
    figure 2.

    Example:
        >>> model = lenet_300_100()
        >>> model.count_params()
        266610
    """
    check_sizes(input_shape=input_shape, hidden=hidden, classes=classes)
    if not input_shape:
        raise ValueError("Expected an `input_shape` of at least one axis. Received: ().")
    check_softmax(classes)
    drawn = {"kernel_initializer": kernel_initializer, "bias_initializer": "zeros"}
    layers: list[keras.Layer] = [keras.Input(tuple(input_shape))]
    if len(input_shape) > 1:
        layers.append(keras.layers.Flatten(name="flatten"))
    for number, units in enumerate(hidden, start=1):
        layers.append(keras.layers.Dense(units, "relu", name=f"hidden_{number}", **drawn))
    layers.append(keras.layers.Dense(classes, "softmax", name="output", **drawn))
    return keras.Sequential(layers, name="_".join(["lenet", *map(str, hidden)]))
