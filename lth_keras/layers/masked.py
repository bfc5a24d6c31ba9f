"""The one mechanism behind every masked layer: a boolean mask beside each prunable weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, reduce, wraps
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
from keras import ops

from lth_keras.layers.penalties import ConstraintOnMasked, OnMasked, RegularizerOnMasked
from lth_keras.layers.reading import (
    MaskedAttribute,
    Reading,
    as_read,
    reading_masked,
    reading_type,
    without_reading,
)
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
        needed: see `registry.Prunable`.
        outputs: see `registry.Prunable`.
    """

    prunable: ClassVar[tuple[str, ...]] = ()
    kind_of_layer: ClassVar[str] = "dense"
    needed: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    _variable_paths: ClassVar[Mapping[str, str]] = {}
    _optional: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a masked layer type the weights of its Keras layer, as the registry has them."""
        super().__init_subclass__(**kwargs)
        plain = next((base for base in cls.__bases__ if base in PRUNABLE), None)
        if plain is None:
            return
        entry = PRUNABLE[plain]
        cls.kind_of_layer, cls._variable_paths, cls._optional = entry.kind, entry.variables, entry.optional
        cls.needed, cls.outputs = entry.needed, entry.outputs
        cls.prunable = tuple(cls._variable_paths)
        own = [_attribute(path, plain) for path in cls._variable_paths.values() if "." not in path]
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
        self.add_masks()

    def add_masks(self) -> None:
        """Adds an all-True mask for each prunable weight of a built layer.

        Raises:
            ValueError: for a layer without a variable where its type's entry in the registry has one.
        """
        for name in filter(self._is_present, self.prunable):
            if not hasattr(self, mask_name(name)):  # Embedding.build may run twice
                self._add_mask(name)

    def remove_masks(self) -> None:
        """Removes the masks, and what they have changed in the layer; weights keep their values."""
        for weight in self.masked_weights():
            self._untrack_variable(weight.mask)  # type: ignore[attr-defined]
            delattr(self, mask_name(weight.name))
            weight.holder.__class__ = without_reading(type(weight.holder))
            for name in ("regularizer", "constraint"):
                value = getattr(weight.variable, name)
                if isinstance(value, OnMasked):
                    setattr(weight.variable, name, value.function)

    @property
    def _masked_names(self) -> list[str]:
        return [name for name in self.prunable if hasattr(self, mask_name(name))]

    def _add_mask(self, name: str) -> None:
        holder, attribute, variable = self._place(name)
        locked = self._tracker.locked  # type: ignore[attr-defined]  # by LoRA, or where the layer was built before
        self._tracker.unlock()  # type: ignore[attr-defined]
        with reading_masked({}):
            shape = getattr(
                holder, attribute
            ).shape  # of the weight: int4 packs two of its values in one of the variable
        mask = self.add_weight(  # type: ignore[attr-defined]
            name=mask_name(name),
            shape=shape,
            initializer="ones",
            dtype="bool",
            trainable=False,
        )
        setattr(self, mask_name(name), mask)
        if locked:
            self._lock_state()  # type: ignore[attr-defined]
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
        return [MaskedWeight(name, *self._place(name), getattr(self, mask_name(name))) for name in self._masked_names]

    def prunable_variable(self, name: str) -> Any:
        """The Keras variable that holds a prunable weight, unmasked."""
        return self._place(name)[2]

    def _is_present(self, name: str) -> bool:
        """Whether the layer has a weight; some weights exist only with certain arguments."""
        path = self._variable_paths.get(name, f"_{name}")
        try:
            found = isinstance(self._place(name)[2], keras.Variable)
        except (AttributeError, KeyError):
            found = False
        if not found and name not in self._optional:
            kept = [name for name, value in vars(self).items() if isinstance(value, keras.Variable)]
            raise ValueError(
                f"Expected {type(self).__name__} {self.name!r} to keep a variable in {path!r} once it is built. "  # type: ignore[attr-defined]
                f"Received: none there; it keeps variables in {kept}. Correct weights= of "
                "lth_keras.register_prunable."
            )
        return found

    def _place(self, name: str) -> tuple[Any, str, Any]:
        """The holder, attribute and variable of a prunable weight."""
        if name not in self._variable_paths:
            return self, name, vars(self)[f"_{name}"]
        *inside, last = self._variable_paths[name].split(".")
        holder = reduce(getattr, inside, self)
        return holder, _attribute(last, type(holder)), vars(holder)[last]

    @property
    def zeros_replace_mask(self) -> bool:
        """Whether zeros in place of pruned weights, in the Keras variables, do what the masks do.

        Not with LoRA, which adds to them. Not where the layer is quantised: int4 packs two values in one.
        """
        holders = (self._place(name)[0] for name in self._masked_names)
        return not any(has_lora(holder) or holder.quantization_mode is not None for holder in holders)

    @contextmanager
    def masking(self) -> Iterator[dict[str, Reading]]:
        """Within it, this layer's prunable weights read as masked; yields how, by name of the weight."""
        self.note_masks()
        zeros = self.zeros_replace_mask
        masked = self.masked_weights()
        readings = {weight.name: Reading(weight.mask, zeros) for weight in masked}
        with reading_masked({(id(weight.holder), weight.attribute): readings[weight.name] for weight in masked}):
            yield readings

    def note_masks(self) -> None:
        """Notes the masks of the running forward pass for the constraints of this layer's weights."""
        for name in self._masked_names:
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
        for name in self._masked_names:
            store[mask_name(name)] = getattr(self, mask_name(name))

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` wrote.

        Raises:
            ValueError: for a mask of other values than zeros and ones, or none; then nothing is loaded.
        """
        missing = [mask_name(name) for name in self._masked_names if mask_name(name) not in store.keys()]
        if missing:
            raise ValueError(
                f"Expected {', '.join(missing)} of layer {self.name!r}. Received: a file without, as that of a plain "  # type: ignore[attr-defined]
                "model. Load it into the plain model; then mask that with lth_keras.mask_model, and give it the masks: "
                "lth_keras.set_mask(masked, lth_keras.get_mask(this_model))."
            )
        masks = {mask_name(name): _checked_bits(store[mask_name(name)], name, self) for name in self._masked_names}
        kept = {key: store[key] for key in store.keys() if key not in masks}  # Keras' stores are no mappings
        with self._masks_hidden():
            super().load_own_variables(kept)  # type: ignore[misc]
        for name, mask in masks.items():
            getattr(self, name).assign(mask)

    @contextmanager
    def _masks_hidden(self) -> Iterator[None]:
        """Within it the layer does not list its masks. Some Keras layers save what they list, others what they name."""
        listed = vars(self)["_non_trainable_variables"]
        masks = [getattr(self, mask_name(name)) for name in self._masked_names]
        vars(self)["_non_trainable_variables"] = [v for v in listed if not any(v is mask for mask in masks)]
        try:
            yield
        finally:
            vars(self)["_non_trainable_variables"] = listed


def mask_in_place(layer: Any, masked: type) -> None:
    """Turns a built Keras layer into a masked one of the given class, in every model that holds it.

    Its quantisation is refused from then on: Keras has bound the plain layer's method to it.

    Raises:
        NotImplementedError: for a dtype whose quantisation does not keep pruned weights at zero.
    """
    _check_quantization(layer, layer.quantization_mode)
    layer.__class__ = masked
    vars(layer)["quantize"] = partial(_refuse_to_quantize, layer)
    layer.add_masks()


def unmask_in_place(layer: Any, plain: type) -> None:
    """Turns a masked layer into a plain Keras layer, with zeros in place of pruned weights and LoRA's update merged."""
    for weight in layer.masked_weights():
        if weight.holder.quantization_mode is None:  # otherwise pruned weights were zeros when it was quantised
            value = getattr(weight.holder, weight.attribute)
            weight.variable.assign(value * ops.cast(weight.mask, value.dtype))
            if has_lora(weight.holder):
                update = getattr(weight.holder, f"lora_{weight.attribute}_b")
                update.assign(ops.zeros_like(update))
    layer.remove_masks()
    layer.__class__ = plain


def _refuse_to_quantize(layer: Any, *_: Any, **__: Any) -> None:
    raise NotImplementedError(
        f"Expected a layer that was made as a masked layer. Received: {layer.name!r}, which was masked in place. "
        "Use lth_keras.strip_masks(model) first, and quantise the plain model."
    )


def has_lora(layer: Any) -> bool:
    """Whether LoRA adds an update to a layer's weights; only some Keras layers can have it."""
    return bool(getattr(layer, "lora_enabled", False))


def _attribute(variable: str, holder: type) -> str:
    """The attribute by which a forward pass reads a variable: without the underscore where the class has that one."""
    public = variable.removeprefix("_")
    return public if hasattr(holder, public) else variable


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
