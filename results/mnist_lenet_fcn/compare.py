"""Prints the numbers of README.md from run.h5: `python results/mnist_lenet_fcn/compare.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray

from lth_keras.storage import open_run

LEVELS = {"dense": 0, "51%": 3, "21%": 7, "10.8%": 10, "3.6%": 15, "1.2%": 20, "0.4%": 25}


def row(run: xarray.Dataset, name: str, level: int, branch: str) -> str:
    """A line of the table: means with the least and the greatest of the trials that have finished the level."""
    cell = run.sel(level=level, branch=branch)
    accuracy, step = 100 * cell.test_accuracy_at_early_stop, cell.early_stop_step
    trials = int(np.isfinite(accuracy).sum())
    return (
        f"| {name} | {branch if level else 'dense'} | {100 * float(cell.density.mean()):.1f} | "
        f"{float(accuracy.mean()):.2f} ({float(accuracy.min()):.2f} - {float(accuracy.max()):.2f}) | "
        f"{float(step.mean()):,.0f} ({float(step.min()):,.0f} - {float(step.max()):,.0f}) | {trials} |"
    )


def main() -> None:
    """Prints the table, and what the hypothesis turns on as differences between means."""
    run = open_run(Path(__file__).parent)
    print("| about | branch | density, % | test accuracy at early stop, % | early-stop step | trials |")
    print("|---|---|---|---|---|---|")
    for name, level in LEVELS.items():
        for branch in run.branch.values[: None if level else 1]:
            if level in run.level and np.isfinite(run.density.sel(level=level, branch=branch)).any():
                print(row(run, name, level, branch))
    accuracy = 100 * run.test_accuracy_at_early_stop.mean("trial")
    step = run.early_stop_step.mean("trial")

    def at(variable: xarray.DataArray, branch: str, level: int) -> float:
        return float(variable.sel(branch=branch, level=level))

    winning, reinit = "winning_ticket", "random_reinit"
    dense = at(accuracy, winning, 0)
    print(f"\n21%: {at(accuracy, winning, 7) - dense:+.2f} points against dense, early stop at ", end="")
    print(f"{at(step, winning, 7) / at(step, winning, 0):.2f} of its step")
    print(f"3.6%: {at(accuracy, winning, 15) - dense:+.2f} points against dense")
    points = at(accuracy, reinit, 15) - at(accuracy, winning, 15)
    print(f"3.6%, random_reinit against winning_ticket: {points:+.2f} points, ", end="")
    print(f"{at(step, reinit, 15) / at(step, winning, 15):.2f} times its steps")
    print_levels(run)


def print_levels(run: xarray.Dataset) -> None:
    """Prints means at every level: gains over dense, early-stop steps, the ticket's final accuracy."""
    gain = 100 * run.test_accuracy_at_early_stop.mean("trial")
    gain = gain - gain.sel(branch="winning_ticket", level=0)
    step, final = run.early_stop_step.mean("trial"), 100 * run.test_accuracy_final.mean("trial")
    branches = [str(branch) for branch in run.branch.values]
    columns = [*(f"{name}: points, share of dense's steps" for name in branches), "winning_ticket after the last step"]
    print(f"\n| density, % | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for level in run.level.values:
        cells = [
            f"{float(gain.sel(branch=name, level=level)):+.2f}, "
            f"{float(step.sel(branch=name, level=level) / step.sel(branch=name, level=0)):.2f}"
            for name in branches
        ]
        last = f"{float(final.sel(branch='winning_ticket', level=level)):.2f}"
        density = 100 * float(run.density.sel(branch="winning_ticket", level=level).mean())
        print(f"| {density:.1f} | {' | '.join([*cells, last])} |")


if __name__ == "__main__":
    main()
