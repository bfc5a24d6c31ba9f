"""A run with early tickets, made from formulas: branches whose masks are of the weights after so many epochs."""

from __future__ import annotations

import numpy as np
import xarray

from tests.synthetic import dataset

EPOCHS = (0, 3, 15)
PER_EPOCH = 916


def early_run(trials: int = 2, levels: int = 16, epochs: tuple[int, ...] = EPOCHS) -> xarray.Dataset:
    """Branches `epoch_15`, ... in the order of their names, beside the winning ticket; overlap grows by epoch."""
    names = [f"epoch_{epoch:02d}" for epoch in epochs]
    run = dataset(trials, levels, ("winning_ticket", *names), steps_per_epoch=PER_EPOCH)
    steps = [np.nan, *(epoch * float(PER_EPOCH) for epoch in sorted(epochs))]
    run = run.assign_coords(score_at=("branch", steps))
    overlap = xarray.ones_like(run.density)
    for place, epoch in enumerate(sorted(epochs), 1):
        overlap[:, place] = (0.2 + 0.02 * epoch) * run.density[:, place] ** 0.1
    return run.assign(mask_overlap=overlap)
