"""What is pruned in a model, weight by weight, and what is not and why."""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from rich import box
from rich.console import Console

from lth_keras.layers import PLAIN_LAYERS, MaskedLayer, class_entry
from lth_keras.masking.conversion import masked_copy
from lth_keras.masking.operations import calls_on_one_example, uses
from lth_keras.masking.places import walk
from lth_keras.masking.prunable import PrunableWeight, check_is_model, prunable_weights
from lth_keras.masking.unmasked import Unmasked, unmasked_layers
from lth_keras.system import Table


class Row(NamedTuple):
    """A prunable weight of a model.

    Attributes:
        weight: its key, `"<layer>/<weight>"`.
        layer: class of the layer, without masks.
        shape: of the weight.
        kind: `dense`, `conv`, `embedding` or `output`.
        size: number of weights.
        kept: number of weights that are not pruned.
        empty_outputs: how many outputs (units, filters) have no weight left, and so are constant.
        outputs: number of outputs.
        flops: multiplications and additions by this kernel in a forward pass on one example; None if not known.
        flops_kept: those by weights that are kept.
    """

    weight: str
    layer: str
    shape: tuple[int, ...]
    kind: str
    size: int
    kept: int
    empty_outputs: int
    outputs: int
    flops: int | None
    flops_kept: int | None

    @property
    def density(self) -> float:
        """Share of the weights kept."""
        return self.kept / self.size


class Summary:
    """What is pruned in a model; prints as a table.

    Attributes:
        rows: one for each prunable weight, in the order of the model.
        unmasked: layers with kernels that have no mask: place, class, number of weights, reason.
        weights: number of all weights of the model, biases and normalisation included.
    """

    def __init__(self, rows: list[Row], unmasked: list[Unmasked], weights: int) -> None:
        self.rows, self.unmasked, self.weights = rows, unmasked, weights

    @property
    def size(self) -> int:
        """Number of prunable weights."""
        return sum(row.size for row in self.rows)

    @property
    def kept(self) -> int:
        """Number of prunable weights that are kept."""
        return sum(row.kept for row in self.rows)

    @property
    def density(self) -> float:
        """Share of the prunable weights kept; 1 without any."""
        return self.kept / self.size if self.size else 1.0

    def to_frame(self) -> Any:
        """The rows as a pandas data frame, with `density`, indexed by `weight`."""
        import xarray as xr

        columns: dict[str, Any] = {}
        for name in (*Row._fields[1:], "density"):
            columns[name] = np.empty(len(self.rows), object)
            columns[name][:] = [getattr(row, name) for row in self.rows]
        dataset = xr.Dataset({name: ("weight", column) for name, column in columns.items()})
        frame = dataset.assign_coords(weight=[row.weight for row in self.rows]).to_dataframe()
        return frame.infer_objects()

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=160, color_system=None)
        console.print(self._table())
        lines = [console.file.getvalue().rstrip()]  # type: ignore[attr-defined]
        if self.unmasked:
            lines.append("Not masked, and so not pruned:")
            lines += [f"  {one.place} ({one.kind}), {one.weights:,} weights: {one.reason}." for one in self.unmasked]
        lines.append(f"{self.weights:,} weights in all, with biases and normalisation.")
        return "\n".join(lines)

    __repr__ = __str__

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("weight", "layer", "shape", "kind", "kept", "of", "density, %", "empty outputs", "FLOPs", "kept"):
            table.add_column(name, justify="left" if name in ("weight", "layer", "shape", "kind") else "right")
        for row in self.rows:
            shape, empty = " x ".join(map(str, row.shape)), f"{row.empty_outputs:,} of {row.outputs:,}"
            counts = (f"{row.kept:,}", f"{row.size:,}", f"{100 * row.density:.2f}")
            table.add_row(row.weight, row.layer, shape, row.kind, *counts, empty, *map(_short, row[-2:]))
        table.add_section()
        known = [row for row in self.rows if row.flops is not None]
        flops = (sum(row.flops or 0 for row in known), sum(row.flops_kept or 0 for row in known))
        total = (f"{self.kept:,}", f"{self.size:,}", f"{100 * self.density:.2f}")
        table.add_row("all", "", "", "", *total, "", *map(_short, flops if known else (None, None)))
        return table


def summary(model: keras.Model, inputs: Any = None) -> Summary:
    """What is pruned in a model, weight by weight, and which layers with kernels cannot be pruned, and why.

    A floating-point operation is a multiplication or an addition. Counted are those by the kernels in a forward pass on
    one example, where the shapes of all inputs are fixed or `inputs` are given: not biases, activations, normalisation,
    or the products of queries, keys and values in attention.

    Args:
        model: a built model, plain or with masks; it is not changed. Layers of a plain subclassed model are listed as
            not masked.
        inputs: a batch of the model's inputs (arrays, or a list or dict of them), whose first example is used to count
            operations. Subclassed models, and sequences of any length, have none without it.

    Returns:
        Prints as text; `to_frame()` is a pandas data frame, and `rows` and `unmasked` are tuples.

    Raises:
        TypeError: for an object that is no model.
        ValueError: for a model that is not built.

    Example:
        >>> print(summary(prune(model, 0.1)))
        >>> print(summary(prune(subclassed, 0.1), x[:1]))
    """
    check_is_model(model)
    if not model.built:
        raise ValueError(f"Expected a built model. Received: {model.name!r}, not built. Call it once on a batch.")
    graph = isinstance(model, keras.Sequential | keras.src.models.Functional)
    has_masks = any(isinstance(layer, MaskedLayer) for _, layer in walk(model))
    masked = masked_copy(model) if graph and not has_masks and unmasked_layers(model)[0] else model
    try:
        weights = prunable_weights(masked)
    except ValueError:
        weights = []
    calls = calls_on_one_example(masked, list({id(w.layer): w.layer for w in weights}.values()), inputs)
    rows = [_row(weight, calls) for weight in weights]
    count = sum(math.prod(v.shape) for v in model.weights if v.dtype != "bool")
    return Summary(rows, unmasked_layers(masked)[0], count)


def _row(weight: PrunableWeight, calls: Any) -> Row:
    mask = np.asarray(keras.ops.convert_to_numpy(weight.mask))
    axes = weight.layer.outputs.get(weight.name, (-1,))
    inputs = tuple(axis for axis in range(mask.ndim) if axis - mask.ndim not in axes)
    outputs = mask.any(axis=inputs)
    made = None if calls is None else [uses(weight, call) for call in calls[id(weight.layer)]]
    times = None if made is None or None in made or not made else sum(made)  # type: ignore[arg-type]
    kept = int(mask.sum())
    kind = next((PLAIN_LAYERS[base] for base in type(weight.layer).__mro__ if base in PLAIN_LAYERS), type(weight.layer))
    return Row(
        weight.key,
        class_entry(kind)["class_name"],
        tuple(mask.shape),
        weight.kind,
        mask.size,
        kept,
        int(outputs.size - outputs.sum()),
        int(outputs.size),
        None if times is None else 2 * times * mask.size,
        None if times is None else 2 * times * kept,
    )


def _short(count: int | None) -> str:
    if count is None:
        return "?"
    power = max(0, min(4, (len(str(count)) - 2) // 3))
    return f"{count / 1000**power:,.4g}{['', ' k', ' M', ' G', ' T'][power]}"
