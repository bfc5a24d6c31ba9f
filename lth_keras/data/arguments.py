"""Checks of the arguments that a network is made from: model, optimiser and loss."""

from __future__ import annotations

import os
from typing import Any

import keras

from lth_keras.system import shown


def check_makers(build: Any, optimizer: Any, loss: Any) -> None:
    """Checks the arguments of a network as far as is possible without building it.

    Args:
        build: function that makes the Keras model.
        optimizer: function that makes the optimiser.
        loss: as Keras' `compile` takes it, of one output.

    Raises:
        TypeError: for a model or an optimiser in place of the function that makes it, or another object.
        ValueError: for an unknown loss, or an object that is not a loss.
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
    """Raises ValueError for an object that is not a loss, or an unknown name."""
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
    """Raises TypeError for an object that is not a Keras model."""
    if isinstance(model, str | os.PathLike):
        raise TypeError(
            f"Expected a keras.Model. Received: the path {os.fspath(model)!r}; load it first, with "
            "keras.models.load_model."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model. Received: {shown(model)}.")
