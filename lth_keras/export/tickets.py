"""Ticket files: a model's configuration, masks as bits, and the weights that are left."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from lth_keras.export.coding import VALUES, Entry, decoded, encoded
from lth_keras.export.containers import Parts, opened_parts, write_parts
from lth_keras.layers import has_lora
from lth_keras.masking import has_graph, masked_copy, prunable_weights, set_mask, variables, walk
from lth_keras.system import shown

_SPARSE = 0.1  # density below which deflating the bits of a mask pays
_TABLES = (keras.layers.TextVectorization, keras.layers.StringLookup, keras.layers.IntegerLookup)


def save_ticket(path: str | os.PathLike[str], model: keras.Model, *, values: str = "float32") -> None:
    """Writes a model with masks to a file of about its density times the dense size, plus a bit for each weight.

    It holds the model's configuration, the masks as bits (deflated below a density of 10%), the surviving values, and
    all other weights, such as biases, as they are. h5py alone opens it: `mask` holds the bits, most significant first,
    `values` the bytes of all weights, `index` says in JSON what these are, and `config` is Keras' configuration.

    Args:
        path: a file that exists is replaced, when the new one is complete.
        model: built, with masked layers; a Sequential or Functional one.
        values: how surviving weights are stored: `float32` exactly; `float16`; `int8` with a factor for each output.

    Raises:
        ValueError: for a model without masks, a subclassed model, another `values`, layers with vocabularies, LoRA, or
            quantised layers.
        ModuleNotFoundError: for `.safetensors` without the package safetensors.
        OSError: if the file cannot be written.

    Example:
        >>> save_ticket("lstm.ticket.h5", prune(model, 0.2))
        >>> load_ticket("lstm.ticket.h5").predict(x)
    """
    if values not in VALUES:
        raise ValueError(f"Expected values to be one of {', '.join(VALUES)}. Received: {shown(values)}.")
    _check(model)
    masks = {weight.key: keras.ops.convert_to_numpy(weight.mask).astype(bool) for weight in prunable_weights(model)}
    entries, content = [], []
    for key, variable in variables(model).items():
        array, mask = keras.ops.convert_to_numpy(variable), masks.get(key)
        if array.dtype.kind == "V" or array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        stored = array.dtype.name if mask is None else values
        count = array.size if mask is None else int(mask.sum())
        entries.append(Entry(key, tuple(array.shape), str(variable.dtype), stored, mask is not None, count))
        content.append(encoded(array, mask, stored))
    bits = [np.packbits(masks[entry.key].ravel()) for entry in entries if entry.masked]
    kept, size = sum(int(mask.sum()) for mask in masks.values()), sum(mask.size for mask in masks.values())
    config = json.dumps(_uncompiled(keras.saving.serialize_keras_object(model))).encode()
    index = json.dumps([entry._asdict() for entry in entries]).encode()
    parts = Parts(np.concatenate(bits), np.frombuffer(b"".join(content), np.uint8), index, config)
    write_parts(Path(path), parts, deflated=kept < _SPARSE * size)


def _uncompiled(config: Any) -> Any:
    """A configuration without optimisers, losses and metrics, whose state and classes a ticket does not have."""
    if isinstance(config, Mapping):
        return {key: _uncompiled(value) for key, value in config.items() if key != "compile_config"}
    return [_uncompiled(value) for value in config] if isinstance(config, list | tuple) else config


def _check(model: Any) -> None:
    """Raises ValueError for a model that a ticket cannot hold."""
    if not isinstance(model, keras.Model) or not has_graph(model) or not model.built:
        raise ValueError(
            f"Expected a built Sequential or Functional model with masks. Received: {type(model).__name__}. "
            "Save other models by model.save, and their masks by save_mask."
        )
    for place, layer in walk(model):
        if isinstance(layer, _TABLES):
            raise ValueError(
                f"Expected layers whose state is weights. Received: {place!r}, a {type(layer).__name__} with a "
                "vocabulary. Save the model by model.save(...)."
            )
        if getattr(layer, "quantization_mode", None) is not None or has_lora(layer):
            raise ValueError(
                f"Expected layers that are neither quantised nor have LoRA. Received: {place!r}. Save the model by "
                "model.save(...), or mask the model before it is quantised; values='int8' stores 8 bits a weight."
            )


class _Content(NamedTuple):
    entries: list[Entry]
    mask: np.ndarray
    values: bytes
    config: bytes


def load_ticket(
    path: str | os.PathLike[str],
    model: keras.Model | None = None,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    largest: int = 8 << 30,
) -> keras.Model:
    """The model with masks in a file that `save_ticket` wrote.

    The file is checked before anything of its size is allocated, its checksum first. Nothing in it is executed: layers
    are Keras', those of this library, registered ones and `custom_objects`; functions are never taken from a file.

    Args:
        path: of the file.
        model: a model of the same architecture, plain or masked, of which a masked copy gets the weights; None makes it
            from the configuration in the file.
        custom_objects: classes and functions of the configuration by name, as in Keras' `load_model`.
        largest: bytes that the model's weights may take.

    Raises:
        ValueError: for a file that is no ticket, is damaged, or has other weights than the model; for a configuration
            that Keras cannot make a model of.
        FileNotFoundError: if there is none.
    """
    try:
        content = _read(Path(path), largest)
    except (FileNotFoundError, ModuleNotFoundError):
        raise
    except Exception as error:  # whatever h5py, safetensors and JSON raise for a damaged file
        raise ValueError(
            f"Expected a ticket file, as save_ticket writes. Received: {os.fspath(path)!r}: {error}."
        ) from error
    masked = _made(path, content, custom_objects or {}) if model is None else masked_copy(model)
    _check_same(path, content.entries, {key: tuple(v.shape) for key, v in variables(masked).items()})
    _assign(masked, content)
    return masked


def _read(path: Path, largest: int) -> _Content:
    with opened_parts(path) as opened:
        entries = [Entry.read(item) for item in json.loads(opened.index)]
        _check_sizes(entries, *opened.sizes, largest)
        return _Content(entries, opened.read("mask"), bytes(opened.read("values")), opened.config)


def _check_sizes(entries: list[Entry], mask: int, values: int, largest: int) -> None:
    """Raises ValueError unless the index, the bits and the values fit each other and the limit."""
    bits = sum(-(-entry.size // 8) for entry in entries if entry.masked)
    stored = sum(entry.nbytes for entry in entries)
    if bits != mask or stored != values:
        raise ValueError(
            f"{mask:,} bytes of masks and {values:,} of values, where its index says {bits:,} and {stored:,}"
        )
    dense = sum(4 * entry.size for entry in entries)
    if dense > largest:
        raise ValueError(f"weights of {dense:,} bytes, more than largest={largest:,}")


def _made(path: Any, content: _Content, custom_objects: Mapping[str, Any]) -> keras.Model:
    """The model of the configuration, made once without values to see its sizes, and then with them."""
    shapes = {
        key: tuple(v.shape) for key, v in variables(_of_config(path, content, custom_objects, sizes=True)).items()
    }
    _check_same(path, content.entries, shapes)
    return _of_config(path, content, custom_objects, sizes=False)


def _of_config(path: Any, content: _Content, custom_objects: Mapping[str, Any], *, sizes: bool) -> keras.Model:
    state = keras.src.backend.common.global_state
    waiting = state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    before = len(waiting)
    try:
        with keras.src.backend.StatelessScope(initialize_variables=False) if sizes else nullcontext():
            config = json.loads(content.config)  # anew, as Keras takes it apart
            made = keras.saving.deserialize_keras_object(config, custom_objects=dict(custom_objects))
    except Exception as error:  # whatever the configuration makes Keras raise
        raise ValueError(
            f"Expected a ticket file with the configuration of a model. Received: {os.fspath(path)!r}: {error} Pass "
            "custom_objects, or the model itself."
        ) from error
    finally:
        if sizes:  # they are never to get values
            del waiting[before:]
    if not isinstance(made, keras.Model):
        raise ValueError(
            f"Expected a ticket file with the configuration of a model. Received: {os.fspath(path)!r}, with that of a "
            f"{type(made).__name__}."
        )
    return made


def _check_same(path: Any, entries: list[Entry], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ValueError for a model of other weights, naming them."""
    own = {entry.key: entry.shape for entry in entries}
    differing = [key for key in {**own, **shapes} if own.get(key) != shapes.get(key)]
    if differing:
        named = ", ".join(f"{key}: {own.get(key)} in the file, {shapes.get(key)} in the model" for key in differing[:5])
        raise ValueError(
            f"Expected a model with the weights of the ticket {os.fspath(path)!r}. Received: {len(differing)} others: "
            f"{named}."
        )


def _assign(model: keras.Model, content: _Content) -> None:
    own, masks = variables(model), {weight.key for weight in prunable_weights(model)}
    unmasked = [entry.key for entry in content.entries if entry.masked and entry.key not in masks]
    if unmasked:
        raise ValueError(f"Expected a model with masks of {', '.join(unmasked)}. Received: plain layers there.")
    found: dict[str, np.ndarray] = {}
    of_bits = of_values = 0
    for entry in content.entries:
        mask = None
        if entry.masked:
            length = -(-entry.size // 8)
            bits = np.unpackbits(content.mask[of_bits : of_bits + length])[: entry.size]
            of_bits += length
            mask = found[entry.key] = bits.astype(bool).reshape(entry.shape)
            if int(mask.sum()) != entry.stored:
                raise ValueError(
                    f"Expected a ticket file with a value for each weight kept. Received: {entry.stored:,} values of "
                    f"{entry.key!r}, whose mask keeps {int(mask.sum()):,}."
                )
        value = decoded(entry, content.values[of_values : of_values + entry.nbytes], mask)
        of_values += entry.nbytes
        own[entry.key].assign(value)
    set_mask(model, {**{key: np.ones(own[key].shape, bool) for key in masks}, **found})
