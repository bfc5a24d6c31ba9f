"""The one mechanism behind every masked layer: a boolean mask beside each prunable weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce, wraps
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from lth_keras.layers.penalties import ConstraintOnMasked, RegularizerOnMasked
from lth_keras.layers.reading import MaskedAttribute, Reading, as_read, reading_masked, reading_type
from lth_keras.layers.registry import PRUNABLE


def mask_name(weight: str) -> str:
    """Name of the mask that belongs to a weight: `kernel` -> `kernel_mask`."""
    return f"{weight}_mask"


class MaskedWeight(NamedTuple):
    """A prunable weight of a built masked layer.

    Attributes:
        name: of the weight within the layer.
        holder: the layer that has the variable: the masked layer, or one inside it.
        attribute: where the holder's forward pass reads the weight.
        variable: the Keras variable, unmasked.
        mask: the boolean Keras variable of the weight's shape.
    """

    name: str
    holder: Any
    attribute: str
    variable: Any
    mask: Any


class MaskedLayer:
    """Mixin for a Keras layer with prunable weights; stands before the Keras layer in the bases.

    For each name in `prunable` it adds a non-trainable boolean weight `<name>_mask` of the weight's shape, all True
    after build. Within the layer's forward pass the weight reads as the product with its mask, so its gradient is zero
    where it is pruned, under any optimiser, loss or training loop.

    A subclass of a layer type in `registry.PRUNABLE` needs no code. A layer of the user's own that is not there sets
    `prunable`, keeps the variable of each under `_<name>`, and calls `masked` and `masking` in its forward pass.

    Attributes:
        prunable: names of the prunable weights.
        kind_of_layer: see `registry.KINDS`.
    """

    prunable: ClassVar[tuple[str, ...]] = ()
    kind_of_layer: ClassVar[str] = "dense"
    _variable_paths: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a masked layer type the weights of its Keras layer, as the registry has them."""
        super().__init_subclass__(**kwargs)
        plain = next((base for base in cls.__bases__ if base in PRUNABLE), None)
        if plain is None:
            return
        cls.kind_of_layer, cls._variable_paths = PRUNABLE[plain]
        cls.prunable = tuple(cls._variable_paths)
        own = [_attribute(path) for path in cls._variable_paths.values() if "." not in path]
        members: dict[str, Any] = {name: MaskedAttribute(plain, name) for name in own}
        members |= {name: _with_signature(getattr(cls, name), getattr(plain, name)) for name in ("build", "call")}
        for name in members.keys() - vars(cls).keys():
            setattr(cls, name, members[name])

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Builds the Keras layer, then one all-True mask per prunable weight.

        Raises:
            NotImplementedError: for a dtype whose quantisation does not keep pruned weights at zero.
        """
        _check_quantization(self, self.quantization_mode)  # type: ignore[attr-defined]
        super().build(*args, **kwargs)  # type: ignore[misc]
        for name in self.prunable:
            if hasattr(self, mask_name(name)):
                continue  # Embedding.build may run twice
            holder, attribute, variable = self._place(name)
            self._tracker.unlock()  # type: ignore[attr-defined]  # LoRA locks it; Keras locks it again after build
            mask = self.add_weight(  # type: ignore[attr-defined]
                name=mask_name(name),
                # Of the weight: int4 packs two of its values in one of the variable.
                shape=getattr(holder, attribute).shape,
                initializer="ones",
                dtype="bool",
                trainable=False,
            )
            setattr(self, mask_name(name), mask)
            if holder is not self:
                holder.__class__ = reading_type(holder.__class__, attribute)
            if variable.regularizer is not None:
                variable.regularizer = RegularizerOnMasked(variable.regularizer, mask)
            if variable.constraint is not None:
                variable.constraint = ConstraintOnMasked(variable.constraint, mask)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Forward pass of the Keras layer with masked weights."""
        with self.masking():
            return super().call(*args, **kwargs)  # type: ignore[misc]

    def masked_weights(self) -> list[MaskedWeight]:
        """The prunable weights of the layer, which must be built."""
        return [MaskedWeight(name, *self._place(name), getattr(self, mask_name(name))) for name in self.prunable]

    def prunable_variable(self, name: str) -> Any:
        """The Keras variable that holds a prunable weight, unmasked."""
        return self._place(name)[2]

    def _place(self, name: str) -> tuple[Any, str, Any]:
        """The holder, attribute and variable of a prunable weight."""
        *inside, last = self._variable_paths.get(name, f"_{name}").split(".")
        holder = reduce(getattr, inside, self)
        return holder, _attribute(last), vars(holder)[last]

    @property
    def zeros_replace_mask(self) -> bool:
        """Whether zeros in place of pruned weights, in the Keras variables, do what the masks do.

        Not with LoRA, which adds to them. Not where the layer is quantised: int4 packs two values in one.
        """
        holders = (self._place(name)[0] for name in self.prunable)
        return not any(has_lora(holder) or holder.quantization_mode is not None for holder in holders)

    @contextmanager
    def masking(self) -> Iterator[None]:
        """Within it, this layer's prunable weights read as masked."""
        self.note_masks()
        zeros = self.zeros_replace_mask
        weights = {(id(w.holder), w.attribute): Reading(w.mask, zeros) for w in self.masked_weights()}
        with reading_masked(weights):
            yield

    def note_masks(self) -> None:
        """Notes the masks of the running forward pass for the constraints of this layer's weights."""
        for name in self.prunable:
            constraint = self.prunable_variable(name).constraint
            if isinstance(constraint, ConstraintOnMasked):
                constraint.note()

    def masked(self, name: str, value: Any) -> Any:
        """`value` of the weight `name`, times its mask while this layer's forward pass runs."""
        return as_read(self, name, value)

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """Quantises the layer as Keras does, with zeros for the pruned weights, which int8 and int4 keep exactly.

        Raises:
            NotImplementedError: for other modes, or with LoRA: they would bring pruned weights back.
        """
        _check_quantization(self, mode)
        for weight in self.masked_weights():
            weight.variable.assign(weight.variable * ops.cast(weight.mask, weight.variable.dtype))
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
        """Saves the Keras layer's variables and the masks, each by name."""
        with self._masks_hidden():
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
            masks = {mask_name(name): _checked_bits(store[mask_name(name)], name, self) for name in self.prunable}
        kept = {key: store[key] for key in store.keys() if key not in masks}  # Keras' stores are no mappings
        with self._masks_hidden():
            super().load_own_variables(kept)  # type: ignore[misc]
        for name, mask in masks.items():
            getattr(self, name).assign(mask)

    @contextmanager
    def _masks_hidden(self) -> Iterator[None]:
        """Within it the layer does not list its masks. Some Keras layers save what they list, others what they name."""
        listed = vars(self)["_non_trainable_variables"]
        masks = [getattr(self, mask_name(name), None) for name in self.prunable]
        vars(self)["_non_trainable_variables"] = [v for v in listed if not any(v is mask for mask in masks)]
        try:
            yield
        finally:
            vars(self)["_non_trainable_variables"] = listed


def has_lora(layer: Any) -> bool:
    """Whether LoRA adds an update to a layer's weights; only some Keras layers can have it."""
    return bool(getattr(layer, "lora_enabled", False))


def _attribute(variable: str) -> str:
    """The attribute by which a forward pass reads a variable: without the underscore where that is a property."""
    return variable.removeprefix("_")


def _with_signature(method: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """A method with the signature of the Keras layer's, where Keras reads which arguments it takes."""

    @wraps(plain, updated=())  # not whether Keras takes its method for one that does nothing
    def same(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    return same


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
    if mode not in (None, "int8", "int4") or (mode and has_lora(layer)):
        raise NotImplementedError(
            f"Expected {type(layer).__name__} {layer.name!r} to be quantised to int8 or int4, without LoRA, which keep "
            f"pruned weights at zero. Received: mode={mode!r}, lora_enabled={has_lora(layer)}. "
            "Use lth_keras.strip_masks(model) first."
        )
