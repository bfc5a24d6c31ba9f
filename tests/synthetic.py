"""A small run made from formulas: levels whose numbers look like the paper's, with no training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray

from lth_keras.analysis import MetricName
from lth_keras.analysis.schema import ACCURACY, MICRO_F1
from lth_keras.mask import Mask
from lth_keras.storage import LevelResult, assemble, checksum

BRANCHES = ("winning_ticket", "random_reinit", "random_mask")
SHAPES = {"hidden_1/kernel": (80, 60), "hidden_2/kernel": (60, 10), "output/kernel": (10, 5)}
KINDS = {"hidden_1/kernel": "dense", "hidden_2/kernel": "dense", "output/kernel": "output"}
RATES = {"hidden_1/kernel": 0.2, "hidden_2/kernel": 0.2, "output/kernel": 0.1}
CREATED = "2026-01-02T03:04:05+00:00"


def masks(seed: int, levels: int) -> list[Mask]:
    """Nested masks of levels 0 .. levels + 1, random positions, exact counts per layer."""
    generator = np.random.default_rng(abs(seed))
    order = {key: generator.permutation(int(np.prod(shape))) for key, shape in SHAPES.items()}
    made = []
    for level in range(levels + 2):
        arrays = {}
        for key, shape in SHAPES.items():
            kept = np.zeros(order[key].size, bool)
            kept[order[key][: max(1, round(kept.size * (1 - RATES[key]) ** level))]] = True
            arrays[key] = kept.reshape(shape)
        made.append(Mask(arrays))
    return made


def level_result(
    seed: int = 0,
    branch: str = "winning_ticket",
    level: int = 3,
    *,
    mask: Mask | None = None,
    next_mask: Mask | None = None,
    evaluations: int = 60,
    weights: dict[str, np.ndarray] | None = None,
    classes: int | None = None,
    multi_label: bool = False,
    validated: bool = True,
    steps_per_epoch: int | None = None,
    kinds: Mapping[str, str] = MappingProxyType({}),
    metric: MetricName | None = None,
) -> LevelResult:
    """One level: curves rise to an accuracy that depends on branch and level, test ones coarser."""
    name = "dense" if level == 0 else branch
    metric = metric or (MICRO_F1 if multi_label else ACCURACY)
    generator = np.random.default_rng([abs(seed), level, sum(map(ord, name))])
    if mask is None or next_mask is None:
        mask, next_mask = masks(seed, level)[-2:]
    best, stop_step = _level_means(name, mask.density)
    best += generator.normal(0, 0.0005)
    stop_step *= 1 + generator.normal(0, 0.08)
    step = np.linspace(0, 20_000, evaluations + 1).astype(np.int64)
    time = np.maximum(step, 20) / stop_step
    noise = generator.normal(0, 0.0006, step.size) * (step > 0)
    loss = 3.2 * (1 - best) + 0.03 * (time - 1 - np.log(time)) + 0.9 * np.exp(-9 * time) + noise
    accuracy = best - 0.07 * np.exp(-5 * time) - noise
    loss[0], accuracy[0] = 2.31, 0.1
    curves = {
        "train_loss": np.where(step > 0, 0.8 * np.exp(-2 * time**0.4), np.nan),
        "validation_loss": loss,
        "validation_accuracy": accuracy + generator.normal(0, 0.0008, step.size),
        "test_loss": np.where(np.arange(step.size) % 5 == 0, loss + 0.002, np.nan),
        "test_accuracy": np.where(np.arange(step.size) % 5 == 0, accuracy, np.nan),
    }
    stop = int(np.argmin(loss)) if validated else len(step) - 1
    for curve in () if validated else ("validation_loss", "validation_accuracy"):
        curves[curve] = np.full(step.size, np.nan)
    counts = None
    if classes is not None:
        counts = generator.integers(0, 9, (step.size, classes, 3 if multi_label else classes))
        counts[np.isnan(curves["test_accuracy"])] = -1
    curves = {name.replace("accuracy", metric.name): values for name, values in curves.items()}
    scalars = {
        "density": mask.density,
        "early_stop_step": float(step[stop]),
        f"test_{metric.name}_at_early_stop": float(accuracy[stop]),
        f"test_{metric.name}_final": float(accuracy[-1]),
        "seconds": 8.5 + level,
        "peak_memory_bytes": 6.5e8,
    }
    return LevelResult(
        seed=seed,
        branch=name,
        level=level,
        mask=mask,
        next_mask=next_mask,
        step=step,
        curves={key: values.astype(np.float32) for key, values in curves.items()},
        scalars=scalars,
        weights=weights,
        test_confusion=None if multi_label else counts,
        test_counts=counts if multi_label else None,
        metric=metric,
        steps_per_epoch=steps_per_epoch,
        kinds=kinds,
    )


def reseal(path: Path) -> None:
    """Give a file that a test changed the checksum that its writer would have."""
    content = path.read_bytes()
    path.write_bytes(content + checksum.trailer(content))


def levels_of(
    trials: int = 3, levels: int = 8, branches: Sequence[str] = BRANCHES, evaluations: int = 60, **changes: Any
) -> Iterator[LevelResult]:
    """Every level of a run: the dense one once per trial, the others per branch."""
    for seed in range(trials):
        nested = masks(seed, levels)
        for level in range(levels + 1):
            for branch in branches[:1] if level == 0 else branches:
                yield level_result(
                    seed,
                    branch,
                    level,
                    mask=nested[level],
                    next_mask=nested[level + 1],
                    evaluations=evaluations,
                    **changes,
                )


def dataset(
    trials: int = 3, levels: int = 8, branches: Sequence[str] = BRANCHES, evaluations: int = 60, **changes: Any
) -> xarray.Dataset:
    """The Dataset of such a run."""
    return assemble(
        levels_of(trials, levels, branches, evaluations, **changes),
        experiment="synthetic",
        config={"rates": {"dense": 0.2, "output": 0.1}, "steps": 20_000},
        versions={"python": "3.11"},
        created=CREATED,
    )


def _level_means(branch: str, density: float) -> tuple[float, float]:
    """Accuracy at early stop and its step, like those of LeNet-300-100 on MNIST."""
    densities = (0.004, 0.012, 0.036, 0.21, 1.0)
    accuracy, step = {
        "random_reinit": (
            (0.930, 0.9537, 0.9698, 0.9803, 0.9783),
            (19e3, 18e3, 16.2e3, 7.6e3, 4.5e3),
        ),
        "random_mask": ((0.890, 0.9290, 0.9559, 0.9760, 0.9783), (19e3, 18.5e3, 17e3, 9e3, 4.5e3)),
    }.get(branch, ((0.960, 0.9738, 0.9804, 0.9837, 0.9783), (13e3, 10.2e3, 6.1e3, 2.5e3, 4.5e3)))
    x, points = np.log(density), np.log(densities)
    return float(np.interp(x, points, accuracy)), float(np.interp(x, points, step))
