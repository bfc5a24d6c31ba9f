"""Checks of the arguments that a network is made from: model, optimiser and loss."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from lth_keras.backends import Losses, ordered, output_names
from lth_keras.system import real, shown


def check_makers(build: Any, optimizer: Any, loss: Any) -> None:
    """Checks the arguments of a network as far as is possible without building it.

    Args:
        build: function that makes the Keras model.
        optimizer: function that makes the optimiser.
        loss: as Keras' `compile` takes it.

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


def losses_in(loss: Any) -> Iterable[Any]:
    """The losses in the argument `loss`: those of a list, tuple or dict for several outputs, otherwise itself."""
    return loss.values() if isinstance(loss, Mapping) else loss if isinstance(loss, list | tuple) else (loss,)


def check_loss(loss: Any) -> None:
    """Raises ValueError for an object that is not a loss, or an unknown name; also in a list, tuple or dict."""
    if isinstance(loss, list | tuple | Mapping):
        for one in losses_in(loss):
            check_loss(one)
        return
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


def check_loss_weights(name: str, given: Any) -> Any:
    """Weights of losses, in a list, tuple or dict, as numbers of Python.

    Raises:
        ValueError: for anything else, or weights that are not finite.
    """
    if not isinstance(given, list | tuple | Mapping):
        raise ValueError(f"Expected {name} as a list, a tuple or a dict by output. Received: {shown(given)}.")
    places = list(given) if isinstance(given, Mapping) else range(len(given))
    weights = [float(real(f"each of {name}", given[place])) for place in places]
    if not np.isfinite(weights).all():
        raise ValueError(f"Expected finite numbers in {name}. Received: {weights}.")
    return dict(zip(places, weights, strict=True)) if isinstance(given, Mapping) else weights


def losses_of(model: keras.Model, loss: Any, loss_weights: Any = None) -> Any:
    """A model's loss; of several outputs their `Losses`, where one that is given alone is that of each output.

    Args:
        model: built.
        loss: as Keras' `compile` takes it, a list, tuple or dict for several outputs; `Losses` and None remain.
        loss_weights: likewise, weights of the outputs' losses in their sum; 1 each by default.

    Raises:
        ValueError: for losses or weights of other outputs, or weights for a model with one output.
    """
    if loss is None or isinstance(loss, Losses):
        return loss
    names = output_names(model)
    if len(names) == 1:
        if loss_weights is not None:
            raise ValueError(
                f"Expected loss_weights=None for a model with one output. Received: {loss_weights}; scale the learning "
                "rate instead."
            )
        return ordered("Expected a loss", names, loss)[0] if isinstance(loss, list | tuple | Mapping) else loss
    several = isinstance(loss, list | tuple | Mapping)
    of_outputs = ordered("Expected a loss", names, loss) if several else (loss,) * len(names)
    if loss_weights is None:
        return Losses(of_outputs, (1.0,) * len(names))
    return Losses(of_outputs, ordered("Expected loss_weights", names, check_loss_weights("loss_weights", loss_weights)))


def compiled_losses(model: Any, loss: Any = None) -> Any:
    """A model's loss for callbacks: `loss`, or else what the model is compiled with, with weights; see `losses_of`."""
    compiled = getattr(model, "_compile_loss", None)
    if loss is not None or compiled is None:
        return losses_of(model, loss)
    weights = compiled._user_loss_weights if len(output_names(model)) > 1 else None
    return losses_of(model, model.loss, weights)


def check_model(model: Any) -> None:
    """Raises TypeError for an object that is not a Keras model."""
    if isinstance(model, str | os.PathLike):
        raise TypeError(
            f"Expected a keras.Model. Received: the path {os.fspath(model)!r}; load it first, with "
            "keras.models.load_model."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model. Received: {shown(model)}.")
