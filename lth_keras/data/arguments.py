"""What a network can be made of: functions that make a model and an optimiser, and a loss."""

from __future__ import annotations

import os
from typing import Any

import keras

from lth_keras.system.values import shown


def check_makers(build: Any, optimizer: Any, loss: Any) -> None:
    """Checks what can be seen of them before anything is built.

    Args:
        build: should make the Keras model.
        optimizer: should make the optimiser.
        loss: should be one that Keras' `compile` takes, of one output.

    Raises:
        TypeError: for a model or an optimiser in place of the function that makes it, and for what is no function.
        ValueError: for a loss that is none, or unknown.
    """
    if isinstance(build, keras.Model):
        raise TypeError(
            "Expected build to be the function that makes the model, () -> keras.Model, as it is made more than once. "
            f"Received: the model {build.name!r} itself."
        )
    if not callable(build):
        raise TypeError(f"Expected build to be a function that makes the model. Received: {shown(build)}.")
    if isinstance(optimizer, keras.Optimizer) or not callable(optimizer):
        received = f"an {type(optimizer).__name__}" if isinstance(optimizer, keras.Optimizer) else shown(optimizer)
        raise TypeError(
            "Expected optimizer to be a function that makes one, such as lambda: keras.optimizers.Adam(1e-3), as each "
            f"use has its own. Received: {received}."
        )
    check_loss(loss)


def check_loss(loss: Any) -> None:
    """Raises ValueError where Keras has no such loss of one output."""
    if isinstance(loss, type):
        raise ValueError(f"Expected a loss. Received: the class {loss.__name__}; give an instance, {loss.__name__}().")
    if isinstance(loss, str):
        try:
            keras.losses.get(loss)
        except ValueError:
            raise ValueError(f"Expected the name of a loss that Keras has. Received: {loss!r}.") from None
    elif not callable(loss):
        raise ValueError(
            f"Expected loss to be a name, a keras.losses.Loss or a function of labels and outputs. "
            f"Received: {shown(loss)}."
        )


def check_model(model: Any) -> None:
    """Raises TypeError where it is no Keras model."""
    if isinstance(model, str | os.PathLike):
        raise TypeError(
            f"Expected a keras.Model. Received: the path {os.fspath(model)!r}; load it first, with "
            "keras.models.load_model."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model. Received: {shown(model)}.")
