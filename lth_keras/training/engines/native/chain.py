"""Checks that the native kernel can train a model, and reads the model's layers."""

from __future__ import annotations

from typing import Any

import keras

from lth_keras.backends import is_plain
from lth_keras.masking import ChainLayer, dense_chain
from lth_keras.training.engines.native.layout import ChainPart


def native_chain(model: keras.Model, loss: Any) -> tuple[list[ChainPart], bool]:
    """The layers of a masked model for `NativeProgram`.

    Args:
        model: a chain of trainable masked dense layers in float32, optionally after a `Flatten`; hidden layers with
            ReLU or no activation, the last with softmax or no activation.
        loss: sparse categorical cross-entropy, see Keras' `compile`.

    Returns:
        The layers, and whether the outputs are probabilities.

    Raises:
        ValueError: for another model or loss.
    """
    parts, softmax = native_layers(model)
    for part in dense_chain(model):
        kernel, bias = part.layer.prunable_variable("kernel"), part.layer.bias
        if not all(variable.trainable for variable in (kernel, bias) if variable is not None):
            raise ValueError(_expected("layers with trainable kernel and bias", part))
    if not _is_cross_entropy(loss, from_logits=not softmax):
        raise ValueError(
            f"Expected sparse categorical cross-entropy of {'probabilities' if softmax else 'logits'}, the mean over "
            f"examples, for the native kernel. Received: {loss!r}. Use another engine than native."
        )
    return parts, softmax


def native_layers(model: keras.Model) -> tuple[list[ChainPart], bool]:
    """As `native_chain`, for forward passes only: layers may be frozen, and there is no loss."""
    chain, activations = dense_chain(model), keras.activations
    for part in chain[:-1]:
        if part.layer.activation not in (activations.relu, activations.linear):
            raise ValueError(_expected("ReLU or no activation in hidden layers", part))
    last = chain[-1]
    if last.layer.activation not in (activations.softmax, activations.linear):
        raise ValueError(_expected("softmax or no activation in the last layer", last))
    for part in chain:
        if (part.layer.compute_dtype, part.layer.variable_dtype) != ("float32", "float32"):
            raise ValueError(_expected("layers in float32", part))
        if not part.layer.zeros_replace_mask:
            raise ValueError(_expected("layers that are not quantised", part))
    return [_layer(part) for part in chain], last.layer.activation is activations.softmax


def check_optimizer(optimizer: keras.Optimizer) -> None:
    """Checks that the kernel supports an optimiser.

    Raises:
        ValueError: for optimisers other than Adam and SGD, and for weight decay, learning rate schedules, and options
            that change gradients or average weights.
    """
    name, known = type(optimizer).__name__, type(optimizer).__module__.startswith("keras.")
    more = callable(optimizer._learning_rate) or optimizer.weight_decay or not is_plain(optimizer)
    if not known or name not in ("Adam", "SGD") or more:
        raise ValueError(
            "Expected Keras' Adam or SGD with a constant learning rate, without weight decay, clipping, averages, "
            "AMSGrad, loss scaling and accumulation of gradients, for the native kernel. Received: "
            f"{name} with {optimizer.get_config()}. Use another engine than native."
        )


def _layer(part: ChainLayer) -> ChainPart:
    layer = part.layer
    relu = layer.activation is keras.activations.relu
    return ChainPart(layer.prunable_variable("kernel"), layer.kernel_mask, layer.bias, relu)


def _is_cross_entropy(loss: Any, from_logits: bool) -> bool:
    function = keras.losses.get(loss)
    if function is keras.losses.sparse_categorical_crossentropy:
        return not from_logits
    if type(function) is not keras.losses.SparseCategoricalCrossentropy:
        return False
    config = function.get_config()
    return (
        config["from_logits"] == from_logits
        and config["ignore_class"] is None
        and config.get("axis", -1) == -1
        and config["reduction"] in ("sum_over_batch_size", "mean")
    )


def _expected(what: str, part: ChainLayer) -> str:
    layer = part.layer
    activation = getattr(layer.activation, "__name__", layer.activation)
    return (
        f"Expected {what} for the native kernel. Received: {part.place!r}, {layer.compute_dtype}, "
        f"activation={activation}. Use another engine than native."
    )
