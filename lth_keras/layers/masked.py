"""The one mechanism behind every masked layer: a boolean mask beside each prunable weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np
from keras import ops
from keras.src.backend.common.stateless_scope import get_stateless_scope

# The masked layer whose forward pass is running in this thread. Outside a forward pass `layer.kernel` stays the plain
# Keras variable, so assigning to it, saving, quantisation and LoRA work as in Keras.
_running: ContextVar[object | None] = ContextVar("lth_keras_running_layer", default=None)
_zero: ContextVar[bool] = ContextVar("lth_keras_pruned_weights_are_zero", default=False)


@contextmanager
def pruned_weights_are_zero() -> Iterator[None]:
    """Within it forward passes take it that pruned weights are zero, and leave out the product with the mask.

    Gradients are masked all the same. For who keeps them at zero: a product the less per weight and step.
    """
    token = _zero.set(True)
    try:
        yield
    finally:
        _zero.reset(token)


def mask_name(weight: str) -> str:
    """Name of the mask that belongs to a weight: `kernel` -> `kernel_mask`."""
    return f"{weight}_mask"


class OnMasked:
    """A regulariser or constraint that sees the weight as the network does: a pruned weight counts in neither."""

    def __init__(self, function: Callable[[Any], Any], mask: Any) -> None:
        self.function = function
        self.mask = mask

    def __call__(self, value: Any) -> Any:
        """The Keras function of the masked weight."""
        return self.function(ops.multiply(value, ops.cast(self.current_mask(), value.dtype)))

    def current_mask(self) -> Any:
        """The mask to go by."""
        return self.mask


class ConstraintOnMasked(OnMasked):
    """A constraint on a masked weight, by the mask of the training step that it is part of.

    On JAX a step is a pure function, and where Keras calls constraints it passes that function the optimiser's and the
    trained variables alone: the mask's own value would be compiled in. The layer's forward pass, in the same step, has
    seen the one that the step was given.
    """

    def __init__(self, function: Callable[[Any], Any], mask: Any) -> None:
        super().__init__(function, mask)
        self._seen: Any = None

    def see(self) -> None:
        """Notes the mask of the forward pass that runs, for the update that follows."""
        scope = get_stateless_scope()
        self._seen = None if scope is None else scope.get_current_value(self.mask)

    def current_mask(self) -> Any:
        """The mask of the step that runs.

        Raises:
            RuntimeError: in a pure function that was not given the mask, and has not run the layer.
        """
        scope = get_stateless_scope()
        if scope is None or scope.get_current_value(self.mask) is not None:
            return self.mask
        seen, self._seen = self._seen, None  # what a pure function saw must not outlive it
        if seen is None:
            raise RuntimeError(
                "Expected a constraint to be called in a step that has run its layer before. Received: no mask for "
                f"{self.mask.path!r}. Compute the gradients and apply them in one function, or give its StatelessScope "
                "the masks too."
            )
        return seen


class MaskedLayer:
    """Mixin for a Keras layer with prunable weights; stands before the Keras layer in the bases.

    For each name in `prunable` it adds a non-trainable boolean weight `<name>_mask` of the weight's shape, all True
    after build. The subclass multiplies the weight by `masked(name, value)` in its forward pass: a pruned weight is
    out of the output, so its gradient is zero under any optimiser, loss or training loop.
    """

    prunable: ClassVar[tuple[str, ...]] = ()

    def build(self, input_shape: Any = None) -> None:
        """Builds the Keras layer, then one all-True mask per prunable weight.

        Raises:
            NotImplementedError: for a dtype whose quantisation does not keep pruned weights at zero.
        """
        _check_quantization(self, self.quantization_mode)  # type: ignore[attr-defined]
        super().build(input_shape)  # type: ignore[misc]
        for name in self.prunable:
            if hasattr(self, mask_name(name)):
                continue  # Embedding.build may run twice
            self._tracker.unlock()  # type: ignore[attr-defined]  # LoRA locks it; Keras locks it again after build
            mask = self.add_weight(  # type: ignore[attr-defined]
                name=mask_name(name),
                shape=getattr(self, name).shape,  # of the weight: int4 packs two of its values in one of the variable
                initializer="ones",
                dtype="bool",
                trainable=False,
            )
            setattr(self, mask_name(name), mask)
            variable = self.prunable_variable(name)
            if variable.regularizer is not None:
                variable.regularizer = OnMasked(variable.regularizer, mask)
            if variable.constraint is not None:
                variable.constraint = ConstraintOnMasked(variable.constraint, mask)

    def prunable_variable(self, name: str) -> Any:
        """The Keras variable that holds a prunable weight, unmasked.

        Keras keeps it under a leading underscore, since the public name is a property (quantisation, LoRA).
        """
        return getattr(self, f"_{name}")

    @property
    def zeros_replace_mask(self) -> bool:
        """Whether zeros in place of pruned weights, in the Keras variables, do what the masks do.

        Not with LoRA, which adds to them. Not where the layer is quantised: int4 packs two values in one.
        """
        lora = getattr(self, "lora_enabled", False)  # only some Keras layers have it
        return not lora and self.quantization_mode is None  # type: ignore[attr-defined]

    @contextmanager
    def masking(self) -> Iterator[None]:
        """Within it, this layer's prunable weights read as masked."""
        self.note_masks()
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)

    def note_masks(self) -> None:
        """Lets the constraints of this layer's weights know the masks of the forward pass that runs."""
        for name in self.prunable:
            constraint = self.prunable_variable(name).constraint
            if isinstance(constraint, ConstraintOnMasked):
                constraint.see()

    def masked(self, name: str, value: Any) -> Any:
        """`value` of the weight `name`, times its mask while this layer's forward pass runs."""
        if _running.get() is not self:
            return value
        mask = getattr(self, mask_name(name))
        if _zero.get() and self.zeros_replace_mask:
            return _with_masked_gradient(ops.convert_to_tensor(value), ops.convert_to_tensor(mask))
        return ops.multiply(value, ops.cast(mask, value.dtype))

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """Quantises the layer as Keras does, with zeros for the pruned weights, which int8 and int4 keep exactly.

        Raises:
            NotImplementedError: for other modes, or with LoRA: they would bring pruned weights back.
        """
        _check_quantization(self, mode)
        for name in self.prunable:
            variable = self.prunable_variable(name)
            variable.assign(variable * ops.cast(getattr(self, mask_name(name)), variable.dtype))
        # Keras quantises no subclass of its layers unless told to; masked layers are meant, subclasses of them are not.
        type_check = type_check and "prunable" not in vars(type(self))
        super().quantize(mode, type_check=type_check, config=config)  # type: ignore[misc]

    def enable_lora(self, rank: int, lora_alpha: float | None = None, **kwargs: Any) -> None:
        """Enables LoRA as Keras does; the mask holds for the sum of weight and update.

        Raises:
            NotImplementedError: for a quantised layer, where the update would bring pruned weights back.
        """
        if self.quantization_mode is not None:  # type: ignore[attr-defined]
            raise NotImplementedError(f"LoRA on a quantised {type(self).__name__} would bring pruned weights back.")
        # Keras' build passes the rank alone, and so forgets the argument lora_alpha.
        super().enable_lora(rank, lora_alpha or self.lora_alpha, **kwargs)  # type: ignore[misc, attr-defined]

    def save_own_variables(self, store: Any) -> None:
        """Saves the Keras layer's variables and the masks; Keras' layers list what they save by name."""
        super().save_own_variables(store)  # type: ignore[misc]
        if self.built:  # type: ignore[attr-defined]
            for name in self.prunable:
                store[mask_name(name)] = getattr(self, mask_name(name))

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` wrote.

        Raises:
            ValueError: for a mask of other values than zeros and ones; then nothing is loaded.
        """
        masks = {}
        if self.built:  # type: ignore[attr-defined]
            masks = {name: _checked_bits(store[mask_name(name)], name, self) for name in self.prunable}
        super().load_own_variables(store)  # type: ignore[misc]
        for name, mask in masks.items():
            getattr(self, mask_name(name)).assign(mask)


def _with_masked_gradient(value: Any, mask: Any) -> Any:
    """The value as it is, with the gradient of its product with the mask."""

    @ops.custom_gradient
    def function(value: Any) -> tuple[Any, Callable[..., Any]]:
        def gradient(upstream: Any) -> Any:
            return ops.multiply(upstream, ops.cast(mask, upstream.dtype))

        return value, gradient

    return function(value)


def _checked_bits(stored: Any, name: str, layer: Any) -> np.ndarray:
    """The stored mask of a weight, as booleans."""
    mask: np.ndarray = np.asarray(stored)
    if mask.dtype != bool and not np.all((mask == 0) | (mask == 1)):
        raise ValueError(
            f"Expected zeros and ones as {mask_name(name)} of layer {layer.name!r}. Received: other values, dtype "
            f"{mask.dtype}; the file is damaged, or was not written by lth_keras."
        )
    return mask.astype(bool)


def _check_quantization(layer: Any, mode: str | None) -> None:
    if mode not in (None, "int8", "int4") or (mode and layer.lora_enabled):
        raise NotImplementedError(
            f"Expected {type(layer).__name__} {layer.name!r} to be quantised to int8 or int4, without LoRA, which keep "
            f"pruned weights at zero. Received: mode={mode!r}, lora_enabled={layer.lora_enabled}. "
            "Use lth_keras.strip_masks(model) first."
        )
