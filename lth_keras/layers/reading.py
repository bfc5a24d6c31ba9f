"""How a prunable weight reads: as the Keras variable, and times its mask while the forward pass of its layer runs."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

from keras import ops
from keras.src.backend.common.global_state import get_global_attribute


@dataclass
class Reading:
    """How a weight is masked in a forward pass.

    Attributes:
        mask: its boolean Keras variable.
        zeros_replace_mask: whether zeros in place of pruned weights do what the mask does.
        done: whether the forward pass has read the weight.
    """

    mask: Any
    zeros_replace_mask: bool
    done: bool = False


# The weights of the masked layer whose forward pass is running in this thread, by id of the layer that has them and
# attribute. Outside a forward pass they read as plain Keras variables, so assigning, saving, quantisation and LoRA work
# as in Keras.
_running: ContextVar[Mapping[tuple[int, str], Reading] | None] = ContextVar("lth_keras_running_layer", default=None)
_zero: ContextVar[bool] = ContextVar("lth_keras_pruned_weights_are_zero", default=False)

_MADE = "_lth_keras_reads_masked"
"""Marks the classes that `reading_type` makes."""


@contextmanager
def pruned_weights_are_zero() -> Iterator[None]:
    """Within it forward passes assume that pruned weights are already zero, and leave out the product with the mask.

    Gradients are masked all the same. Saves one multiplication per weight and step where the caller keeps pruned
    weights at zero.
    """
    token = _zero.set(True)
    try:
        yield
    finally:
        _zero.reset(token)


@contextmanager
def reading_masked(weights: Mapping[tuple[int, str], Reading]) -> Iterator[None]:
    """Within it these weights read as masked.

    Args:
        weights: id of a layer and name of its attribute to the mask.
    """
    token = _running.set(weights)
    try:
        yield
    finally:
        _running.reset(token)


def as_read(holder: Any, attribute: str, value: Any) -> Any:
    """The value of a layer's weight, times its mask within `reading_masked`."""
    reading = (_running.get() or {}).get((id(holder), attribute))
    if reading is None:
        return value
    reading.done = True
    if _zero.get() and reading.zeros_replace_mask:
        return _with_masked_gradient(ops.convert_to_tensor(value), ops.cast(reading.mask, value.dtype))
    return ops.multiply(value, ops.cast(reading.mask, value.dtype))


class MaskedAttribute:
    """An attribute of a layer class that reads a weight by `as_read`.

    Args:
        base: the class whose attribute is replaced: a Keras property, or set on its instances.
        name: of the attribute.
    """

    def __init__(self, base: type, name: str) -> None:
        self._property = inspect.getattr_static(base, name, None)
        self._name = name

    def __get__(self, holder: Any, owner: type | None = None) -> Any:
        """The weight, or this object when it is read from the class."""
        if holder is None:
            return self
        if another_reads() and getattr(holder, "_masked_names", True):
            _warn_of_another(holder, self._name)
        if self._property is not None:
            return as_read(holder, self._name, self._property.__get__(holder, owner))
        if self._name not in vars(holder):
            raise AttributeError(f"{type(holder).__name__!r} object has no attribute {self._name!r}")
        return as_read(holder, self._name, vars(holder)[self._name])

    def __set__(self, holder: Any, value: Any) -> None:
        """Sets the weight as the replaced attribute would."""
        if self._property is not None:
            self._property.__set__(holder, value)
        else:
            vars(holder)[self._name] = value


def another_reads() -> bool:
    """Whether the forward pass of a Keras layer or model is running that is none of a masked layer."""
    return _running.get() is None and get_global_attribute("current_call_ctx") is not None


def _warn_of_another(holder: Any, attribute: str) -> None:
    """Warns, once for a layer, that a forward pass reads a weight of it unmasked."""
    if holder.quantization_mode is not None or vars(holder).get("_self_warned_of_another"):
        return
    vars(holder)["_self_warned_of_another"] = True
    warnings.warn(
        f"Expected {attribute!r} of the masked layer {holder.name!r} to be read in its own forward pass. Received: "
        "another one that reads it, in which pruned weights count as others do. Use "
        "keras.layers.ReversibleEmbedding for an embedding that is used both ways, or leave the layer out (exclude).",
        stacklevel=3,
    )


@cache
def reading_type(base: Any, attribute: str) -> type:
    """A subclass of a layer class, of the same name, that reads one of its weights by `as_read`."""
    members = {attribute: MaskedAttribute(base, attribute), "__module__": base.__module__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), members | {_MADE: True})


def without_reading(kind: Any) -> type:
    """The layer class that `reading_type` made a subclass of; other classes are returned."""
    while _MADE in vars(kind):
        kind = kind.__bases__[0]
    return kind


@ops.custom_gradient
def _with_masked_gradient(value: Any, mask: Any) -> tuple[Any, Callable[..., Any]]:
    """The value as it is, with the gradient of its product with the mask, both tensors.

    The mask is an argument, since the gradient may run outside of the loop of a recurrent layer that made it: JAX would
    find a value of another trace, and TensorFlow cannot read a variable there.
    """

    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        upstream = args[-1] if upstream is None else upstream  # by name on PyTorch only, after the inputs
        return ops.multiply(upstream, mask), ops.zeros_like(mask)

    return value, gradient
