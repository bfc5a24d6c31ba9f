"""One finished level of one trial and branch, and the HDF5 file that holds it."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lth_keras.analysis import (
    ACCURACY,
    COUNTS,
    DIRECTIONS,
    Distributions,
    MetricName,
    curves_of,
    metric_attributes,
    scalars_of,
    version_of,
)
from lth_keras.arrays import TrainingState
from lth_keras.mask import Mask, PackedBits, count_kept
from lth_keras.storage import atomic, checksum, unsealed
from lth_keras.storage.arrays import ordered, packed_weights, read_kept, write_array, write_kept, write_mask
from lth_keras.storage.containment import contained
from lth_keras.storage.counts import check_counts
from lth_keras.storage.distribution_files import read_distributions, write_distributions
from lth_keras.storage.older import NewerSchema, check_version, names_of_level
from lth_keras.storage.plausible import check_nested, check_scalars, check_shares
from lth_keras.storage.states import read_state, write_state

_MADE = "made"
_KEPT = "kept_weights"
_WHOLE = "weights"  # in files of lth_keras 0.1: pruned weights, too


class DamagedFile(OSError):
    """A result file that is truncated, changed, or not a result file."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredLevel:
    """What was measured in one level of one trial and branch.

    Attributes:
        seed: Seed of the trial.
        branch: The trained branch, e.g. "winning_ticket"; "dense" at level 0.
        level: Number of prunings before this training, 0 for the dense network.
        step: (E,) increasing integers, optimiser updates done at each of E evaluations.
        curves: Every name of `schema.curves_of(metric)`: (E,) float32, NaN where not evaluated.
            Losses in the unit of the loss, accuracies as fractions.
        scalars: Every name of `schema.scalars_of(metric)`: float; density and accuracies as fractions, steps,
            seconds, bytes.
        test_confusion: (E, C, C) integers, for C classes: number of test examples by true class (rows) and predicted
            class (columns); -1 where not evaluated. None if not measured.
        test_counts: (E, C, 3) integers for multi-label tasks: true positives, false positives and false negatives of
            each class; -1 where not evaluated. None if not measured.
        metric: The metric beside the loss; names of curves and scalars contain it.
        steps_per_epoch: Optimiser updates per epoch; None if not recorded.
        kinds: Weight key to the kind of its layer (`dense`, `conv`, `embedding`, `output`); empty if not recorded.
        distributions: Of weights and scores; empty if not requested.
    """

    seed: int
    branch: str
    level: int
    step: np.ndarray
    curves: Mapping[str, np.ndarray]
    scalars: Mapping[str, float]
    test_confusion: np.ndarray | None = None
    test_counts: np.ndarray | None = None
    metric: MetricName = ACCURACY
    steps_per_epoch: int | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    distributions: Distributions = field(default_factory=Distributions)


@dataclass(frozen=True, eq=False, kw_only=True)
class LevelSummary(MeasuredLevel):
    """A level with size and density of every weight in place of masks and weights."""

    sizes: Mapping[str, int]
    densities: Mapping[str, float]


@dataclass(frozen=True, eq=False, kw_only=True)
class LevelResult(MeasuredLevel):
    """The results of one level of one trial and branch.

    Attributes:
        mask: The mask that was trained.
        next_mask: The mask of the next level, a subset of `mask`.
        weights: All of the model's weights by key at the end of training, or None if not kept.
        state: A state of its training that later levels start from, or None.
        made: What it was made with, JSON values: identity of the run, data, model, optimiser, versions; empty if not
            recorded. See `lth_keras.search.provenance`.

    Raises:
        ValueError: Names, lengths or counts differ from the above.
    """

    mask: Mask
    next_mask: Mask
    weights: Mapping[str, np.ndarray] | None = None
    state: TrainingState | None = None
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_measured(self)
        self.next_mask.check_same_weights(self.mask)
        check_scalars(self.scalars, self.step, self.mask.kept, self.mask.size)
        if not self.next_mask.is_subset(self.mask):
            following = self.next_mask.pack()
            for key, packed in self.mask.pack().items():
                check_nested(key, packed, following[key])

    def summary(self) -> LevelSummary:
        """The level's measurements."""
        measured = {each.name: getattr(self, each.name) for each in fields(MeasuredLevel)}
        return LevelSummary(**measured, sizes=self.mask.sizes, densities=self.mask.densities())


def write_level(path: str | os.PathLike[str], result: LevelResult) -> None:
    """Write `result` to `path` atomically (HDF5, layout in docs/results.md).

    The file is composed in memory first, so `weights` need their size once more.

    Raises:
        OSError: It could not be written; an earlier file at `path` is intact.
    """
    image = io.BytesIO()
    with h5py.File(image, "w", libver=("v110", "v110")) as file:  # its metadata has checksums
        attributes = {
            checksum.MARK: "sha256",
            "schema_version": version_of(result.metric),
            "seed": result.seed,
            "branch": result.branch,
            "level": result.level,
        }
        scalars = {name: np.float64(result.scalars[name]) for name in scalars_of(result.metric)}
        file.attrs.update({**attributes, **scalars})
        if result.steps_per_epoch is not None:
            file.attrs["steps_per_epoch"] = result.steps_per_epoch
        write_mask(file.create_group("mask"), result.mask, result.kinds)
        write_mask(file.create_group("next_mask"), result.next_mask, result.kinds)
        curves = file.create_group("curves")
        write_array(curves, "step", np.asarray(result.step, np.int64))
        for name in curves_of(result.metric):
            write_array(curves, name, np.asarray(result.curves[name], np.float32))
        for name in COUNTS:
            if (counts := getattr(result, name)) is not None:
                write_array(curves, name, np.asarray(counts, np.int32), compression="gzip")
        write_distributions(file, result.distributions)
        if result.made:
            text = json.dumps(result.made, sort_keys=True, ensure_ascii=False).encode()
            write_array(file, _MADE, np.frombuffer(text, np.uint8), compression="gzip")
        if result.metric != ACCURACY:
            file.attrs.update(metric_attributes(result.metric))
        if result.weights is not None:
            write_kept(file.create_group(_KEPT), result.weights, result.mask)
        if result.state is not None:
            write_state(file, result.state)
    content = image.getbuffer()
    atomic.write_bytes(Path(path), content, checksum.trailer(content))


def read_level(path: str | os.PathLike[str], *, weights: bool = False, state: bool = False) -> LevelResult:
    """Read what `write_level` wrote.

    Args:
        path: The level file.
        weights: Whether to read the model's weights, if the file has them.
        state: Whether to read the state that later levels start from, if the file has it.

    Raises:
        DamagedFile: Truncated, changed, or not a level file.
        ValueError: Written by a newer version of lth_keras.
        OSError: Absent or not readable (FileNotFoundError, PermissionError, ...).
    """
    with _opened(path) as file:
        kept, mask = None, Mask.unpack(dict(packed_weights(file["mask"])))
        if weights and _KEPT in file:
            kept = read_kept(file[_KEPT], mask)
        elif weights and _WHOLE in file:
            kept = {key: dataset[()] for key, dataset in ordered(file[_WHOLE])}
        return LevelResult(
            **_read_measured(file),
            mask=mask,
            next_mask=Mask.unpack(dict(packed_weights(file["next_mask"]))),
            weights=kept,
            state=read_state(file) if state else None,
            made=_read_made(file),
        )


def summarise_level(path: str | os.PathLike[str]) -> LevelSummary:
    """The measurements in a level file, without unpacking masks.

    Raises:
        As `read_level`.
    """
    with _opened(path) as file:
        sizes, kept = {}, {}
        pairs = zip(packed_weights(file["mask"]), packed_weights(file["next_mask"]), strict=True)
        for (key, packed), (other, following) in pairs:
            if (key, packed.shape) != (other, following.shape):
                raise ValueError(f"masks of {key} {packed.shape} and {other} {following.shape}")
            check_nested(key, packed, following)
            sizes[key], kept[key] = math.prod(packed.shape), count_kept(packed.bits)
        if not sizes:
            raise ValueError("masks of no weight")
        densities = {key: kept[key] / sizes[key] for key in sizes}
        summary = LevelSummary(**_read_measured(file), sizes=sizes, densities=densities)
        _check_measured(summary)
        check_scalars(summary.scalars, summary.step, sum(kept.values()), sum(sizes.values()))
        return summary


def has_weights(path: str | os.PathLike[str]) -> bool:
    """Whether a level file holds the final weights.

    Raises:
        As `read_level`.
    """
    with _opened(path) as file:
        return _KEPT in file or _WHOLE in file


def read_made(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a level was made with; empty if its file does not record it.

    Raises:
        As `read_level`.
    """
    with _opened(path) as file:
        return _read_made(file)


def packed_mask(path: str | os.PathLike[str]) -> Iterator[tuple[str, PackedBits]]:
    """The mask that a level trained, as (key, packed bits) in order; one is in memory at a time.

    Raises:
        As `read_level`.
    """
    with _opened(path) as file:
        yield from packed_weights(file["mask"])


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Context: the open file. Errors within it are raised as `DamagedFile`."""
    with open(path, "rb") as raw:  # a missing file or permission is not damage
        try:
            if not checksum.verify(raw):
                unsealed.check(path)
            with h5py.File(raw, "r") as file:
                for _ in contained(file):
                    pass
                check_version(int(file.attrs["schema_version"]), path)
                yield file
        except (unsealed.NotExaminedError, NewerSchema):
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise DamagedFile(
                f"Expected: a level file of lth_keras. Received: {os.fspath(path)!r}, "
                f"truncated, damaged or foreign ({str(error) or type(error).__name__})."
            ) from error


def _read_made(file: h5py.File) -> dict[str, Any]:
    made = json.loads(file[_MADE][()].tobytes()) if _MADE in file else {}
    if not isinstance(made, dict):
        raise ValueError(f"a {type(made).__name__} as {_MADE}")
    return made


def _read_measured(file: h5py.File) -> dict[str, Any]:
    """The fields of a `LevelResult` except masks and weights."""
    group = file["curves"]
    metric, stored = names_of_level(file.attrs)
    return {
        "seed": int(file.attrs["seed"]),
        "branch": str(file.attrs["branch"]),
        "level": int(file.attrs["level"]),
        "step": group["step"][()],
        "curves": {name: group[stored(name)][()] for name in curves_of(metric)},
        "scalars": {name: float(file.attrs[stored(name)]) for name in scalars_of(metric)},
        **{name: group[name][()] if name in group else None for name in COUNTS},
        "metric": metric,
        "steps_per_epoch": int(file.attrs["steps_per_epoch"]) if "steps_per_epoch" in file.attrs else None,
        "kinds": {key: str(one.attrs["kind"]) for key, one in ordered(file["mask"]) if "kind" in one.attrs},
        "distributions": read_distributions(file),
    }


def _check_measured(level: MeasuredLevel) -> None:
    step, metric = level.step, level.metric
    if np.ndim(step) != 1 or np.any(np.diff(step) <= 0):
        raise ValueError(f"Expected: `step`, one increasing axis. Received: {step!r}")
    if not (isinstance(metric, MetricName) and metric.name.isidentifier() and metric.direction in DIRECTIONS):
        raise ValueError(f"Expected: metric as a MetricName, with an identifier for a name. Received: {metric!r}")
    _check_names("curves", level.curves, curves_of(metric))
    _check_names("scalars", level.scalars, scalars_of(metric))
    for name, values in level.curves.items():
        if np.shape(values) != np.shape(step):
            raise ValueError(
                f"Expected: curve {name!r} of shape {np.shape(step)}, that of `step`. "
                f"Received: shape {np.shape(values)}"
            )
    for name in COUNTS:
        if (counts := getattr(level, name)) is not None:
            check_counts(name, counts, len(step))
    check_shares(metric.name, {**level.curves, **level.scalars})


def _check_names(what: str, received: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if received.keys() != expected.keys():
        raise ValueError(
            f"Expected: {what} {sorted(expected)}. Received: {sorted(received)}; "
            f"missing {sorted(expected.keys() - received.keys())}, "
            f"unexpected {sorted(received.keys() - expected.keys())}"
        )
