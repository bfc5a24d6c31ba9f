"""Prints the numbers of README.md from run.h5: `python results/reuters/compare.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray

from lth_keras.storage import open_run

FOLDER = Path(__file__).parent
LEVELS = (0, 3, 7, 10, 11)
MEASURES = ("test_f1_micro", "test_f1_macro")


def shown(values: np.ndarray) -> str:
    """Mean (least - greatest) of trials, in percent."""
    there = 100 * values[np.isfinite(values)]
    return f"{there.mean():.2f} ({there.min():.2f} - {there.max():.2f})" if there.size else ""


def at_early_stop(run: xarray.Dataset, measure: str) -> xarray.DataArray:
    """A measure of every test at the step of least validation loss; the test split is measured at every evaluation."""
    return run[measure].where(run.step == run.early_stop_step).max("step")


def main(folder: Path = FOLDER) -> None:
    """Prints micro- and macro-F1 by density, at early stop and at the end, and the steps to it."""
    run = open_run(folder)
    early = {measure: at_early_stop(run, measure) for measure in MEASURES}
    end = {measure: run[measure].isel(step=-1) for measure in MEASURES}
    print("| density | branch | early stop at | micro-F1 | macro-F1 | micro-F1 at the end | macro-F1 at the end |")
    print("|---|---|---|---|---|---|---|")
    for level in LEVELS:
        for branch in run.branch.values if level else run.branch.values[:1]:
            place = {"branch": branch, "level": level}
            steps = run.early_stop_step.sel(place).values
            if not np.isfinite(steps).any():
                continue
            cells = [shown(values[measure].sel(place).values) for values in (early, end) for measure in MEASURES]
            density = float(np.nanmean(run.density.sel(place).values))
            name = branch if level else "dense"
            print(f"| {100 * density:.1f}% | {name} | {np.nanmean(steps):,.0f} | {' | '.join(cells)} |")
    print("\nAgainst the dense network of the same trial, in points of micro-F1 at early stop:")
    micro = 100 * early["test_f1_micro"].sel(branch="winning_ticket")
    for level in LEVELS[1:]:
        gains = (micro.sel(level=level) - micro.sel(level=0)).values
        print(f"- level {level}: {np.nanmean(gains):+.2f} ({np.nanmin(gains):+.2f}, {np.nanmax(gains):+.2f})")
    counts = run.test_counts.isel(trial=0, branch=0, level=0, step=-1)
    end_micro = 100 * end["test_f1_micro"].sel(level=LEVELS[-1])
    print("\nBelow the winning ticket at the last level, in points of micro-F1 at the end:")
    for branch in run.branch.values[1:]:
        lost = (end_micro.sel(branch="winning_ticket") - end_micro.sel(branch=branch)).values
        print(f"- {branch}: {np.nanmean(lost):.2f} ({np.nanmin(lost):.2f}, {np.nanmax(lost):.2f})")
    documents = counts.sel(outcome=["true_positive", "false_negative"]).sum("outcome").values
    print(f"\nOf {documents.size} topics {(documents < 10).sum()} have fewer than 10 test documents.")
    print(
        f"Seconds a training: {float(run.seconds.median()):.0f} in the median, {float(run.seconds.max()):.0f} at most."
    )
    shared = run.seconds.sel(branch="winning_ticket", level=0).sum() * (run.sizes["branch"] - 1)
    print(f"All trainings: {float(run.seconds.sum() - shared) / 3600:.1f} hours")
    print("\nOf the winning ticket, weights left by layer at the last level:")
    left = run.weight_density.sel(branch="winning_ticket", level=LEVELS[-1]).mean("trial")
    print(", ".join(f"{name}: {100 * float(left.sel(weight=name)):.1f}%" for name in run.weight.values))


if __name__ == "__main__":
    main()
