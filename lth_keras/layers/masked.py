"""The one mechanism behind every masked layer: a boolean mask beside each prunable weight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

from keras import ops

# The masked layer whose forward pass is running in this thread. Outside a forward pass `layer.kernel` stays the plain
# Keras variable, so assigning to it, saving, quantisation and LoRA work as in Keras.
_running: ContextVar[object | None] = ContextVar("lth_keras_running_layer", default=None)


def mask_name(weight: str) -> str:
    """Name of the mask that belongs to a weight: `kernel` -> `kernel_mask`."""
    return f"{weight}_mask"


class MaskedRegularizer:
    """A regulariser that sees the weight as the network does, so a pruned weight adds no loss and gets no gradient."""

    def __init__(self, regularizer: Any, mask: Any) -> None:
        self.regularizer = regularizer
        self.mask = mask

    def __call__(self, value: Any) -> Any:
        return self.regularizer(value * ops.cast(self.mask, value.dtype))


class MaskedLayer:
    """Mixin for a Keras layer with prunable weights; stands before the Keras layer in the bases.

    For each name in `prunable` it adds a non-trainable boolean weight `<name>_mask` of the weight's shape, all True
    after build. The subclass multiplies the weight by `masked(name, value)` in its forward pass: a pruned weight is
    out of the output, so its gradient is zero under any optimiser, loss or training loop.
    """

    prunable: ClassVar[tuple[str, ...]] = ()

    def build(self, input_shape: Any = None) -> None:
        """Builds the Keras layer, then one all-True mask per prunable weight."""
        super().build(input_shape)  # type: ignore[misc]
        for name in self.prunable:
            if hasattr(self, mask_name(name)):
                continue  # Embedding.build may run twice
            variable = self.prunable_variable(name)
            mask = self.add_weight(  # type: ignore[attr-defined]
                name=mask_name(name),
                shape=variable.shape,
                initializer="ones",
                dtype="bool",
                trainable=False,
            )
            setattr(self, mask_name(name), mask)
            if variable.regularizer is not None:
                variable.regularizer = MaskedRegularizer(variable.regularizer, mask)

    def prunable_variable(self, name: str) -> Any:
        """The Keras variable that holds a prunable weight, unmasked.

        Keras keeps it under a leading underscore, since the public name is a property (quantisation, LoRA).
        """
        return getattr(self, f"_{name}")

    @contextmanager
    def masking(self) -> Iterator[None]:
        """Within it, this layer's prunable weights read as masked."""
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)

    def masked(self, name: str, value: Any) -> Any:
        """`value` of the weight `name`, times its mask while this layer's forward pass runs."""
        if _running.get() is not self:
            return value
        return ops.multiply(value, ops.cast(getattr(self, mask_name(name)), value.dtype))

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Quantises the layer as Keras does, after writing zeros to the pruned weights: symmetric schemes keep them."""
        for name in self.prunable:
            variable = self.prunable_variable(name)
            variable.assign(variable * ops.cast(getattr(self, mask_name(name)), variable.dtype))
        super().quantize(*args, **kwargs)  # type: ignore[misc]

    def save_own_variables(self, store: Any) -> None:
        """Saves the Keras layer's variables and the masks; Keras' layers list what they save by name."""
        super().save_own_variables(store)  # type: ignore[misc]
        if self.built:  # type: ignore[attr-defined]
            for name in self.prunable:
                store[mask_name(name)] = getattr(self, mask_name(name))

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` wrote."""
        super().load_own_variables(store)  # type: ignore[misc]
        if self.built:  # type: ignore[attr-defined]
            for name in self.prunable:
                getattr(self, mask_name(name)).assign(store[mask_name(name)])
