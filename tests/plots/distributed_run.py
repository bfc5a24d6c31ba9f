"""A run with overlaps of pairs and distributions, made from formulas."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import xarray

from lth_keras.analysis import Distributions, distribution
from lth_keras.analysis.distributions import Distribution
from lth_keras.storage import assemble
from lth_keras.storage.mask_overlaps import overlap_variables
from lth_keras.storage.older import newest
from tests.synthetic import CREATED, KINDS, SHAPES, levels_of

ROWS = ("winning_ticket", "snip_uss", "grasp_uss", "weights_snip_synflow_ums")
CRITERIA = ("magnitude", "snip", "grasp")


def values_of(seed: int, branch: str, level: int, name: str, key: str) -> np.ndarray:
    """Bimodal, wider after training: the values that a distribution is of."""
    generator = np.random.default_rng([seed, level, *map(ord, branch + name + key)])
    size = max(2, round(np.prod(SHAPES[key]) * 0.7**level))
    return generator.choice([-1, 1], size) * generator.normal(0.3 if name == "initial" else 0.5, 0.05, size)


def scores_of(seed: int, criterion: str, key: str) -> np.ndarray:
    """Of `grasp` both signs, of `snip` two fifths zero."""
    generator = np.random.default_rng([seed, *map(ord, criterion + key)])
    scores = generator.lognormal(-7, 1, SHAPES[key])
    if criterion == "grasp":
        scores *= generator.choice([-1, 1], SHAPES[key])
    return scores * (generator.random(SHAPES[key]) > 0.4) if criterion == "snip" else scores


def distributed_run(
    trials: int = 2, levels: int = 6, branches: tuple[str, ...] = ROWS, *, collapsed: str | None = None
) -> xarray.Dataset:
    """Branch `collapsed` has no weight left at the last level."""
    results = []
    for result in levels_of(trials, levels, branches, 5, kinds=KINDS):
        seed, branch, level = result.seed, result.branch, result.level
        gone = branch == collapsed and level == levels

        def of(values: np.ndarray, gone: bool = gone) -> Distribution:
            return distribution(values[:0] if gone else values)

        weights = {
            name: {key: of(values_of(seed, branch, level, name, key)) for key in SHAPES}
            for name in ("initial", "final")
        }
        found = Distributions(weights)
        if level == 0:
            scores = {name: {key: distribution(scores_of(seed, name, key)) for key in SHAPES} for name in CRITERIA}
            found = found._replace(
                scores=scores, correlations=np.array([[1, 0.5, -0.1 * seed], [0.5, 1, 0], [0, 0, 1]])
            )
        results.append(dataclasses.replace(result, distributions=found))
    run = assemble(results, experiment="synthetic", config={}, versions={}, created=CREATED)
    if collapsed is not None:
        run.weight_density.loc[{"branch": collapsed, "level": levels}] = 0
    run = run.merge(overlap_variables(run, lambda *_: Path(), ()), combine_attrs="override")
    pairs = np.random.default_rng(0).uniform(0.01, 1, run.mask_overlap_pairs.shape)
    run.mask_overlap_pairs.values[:] = (pairs + pairs.swapaxes(2, 3)) / 2
    run.mask_overlap.values[:] = run.mask_overlap_pairs.sel(other_branch=branches[0]).transpose(*run.mask_overlap.dims)
    return newest(run, "a run")
