"""Prints the tables of README.md from run.h5: `python results/thesis_postmortem/compare.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray

from experiments.figures.published_points import references_of
from lth_keras.storage import open_run

LEVELS = {"100%": 0, "51%": 3, "21%": 7, "10.8%": 10, "6.9%": 12, "5.5%": 13, "2.8%": 16}
THESIS_CONVERGED = 10_000
"""Steps of the ten epochs that its figure leaves out: of 60,000 images in batches of 60."""
COMPARED = ("100%", "10.8%", "5.5%", "2.8%")
RIGHT, THESIS = "winning_ticket", "thesis"
CORRECTED = {
    "thesis_half_output": "the output layer at half the rate",
    "thesis_new_optimiser": "a new optimiser in every level",
    "thesis_scaled_pixels": "pixels in [0, 1]",
    "thesis_trained_masks": "masks of the trained weights",
    "thesis_slow": "the learning rate of its text, 1.2e-4",
}
CAUSES = {
    "only_full_output": "the output layer at the full rate",
    "only_one_optimiser": "one optimiser for all levels",
    "only_raw_pixels": "pixels 0 ... 255",
    "only_initial_masks": "masks of the initial weights",
}
ALONE = {**CAUSES, "only_slow": "a learning rate of 1.2e-4"}
NAMES = {
    RIGHT: "everything right",
    THESIS: "the thesis' protocol",
    **{branch: f"its protocol, but {name}" for branch, name in CORRECTED.items()},
    **{branch: f"everything right, but {name}" for branch, name in ALONE.items()},
}


def main() -> None:
    """Prints accuracy by density, what each correction gains, what each cause costs, and recall and early accuracy."""
    run = open_run(Path(__file__).parent)
    accuracy = 100 * run.test_accuracy_final
    print_accuracy(run, accuracy)
    against_thesis = accuracy - accuracy.sel(branch=THESIS)
    rows = {name: against_thesis.sel(branch=branch) for branch, name in {RIGHT: "everything", **CORRECTED}.items()}
    print_differences("corrected, against the thesis' protocol", rows)
    against_right = accuracy - accuracy.sel(branch=RIGHT)
    rows = {name: against_right.sel(branch=branch) for branch, name in ALONE.items()}
    rows["the first four, added"] = against_right.sel(branch=list(CAUSES)).sum("branch")
    rows["the first four together: the thesis' protocol"] = against_right.sel(branch=THESIS)
    print_differences("the only cause, against everything right", rows)
    print_single_trials(run)
    print_as_in_the_figure(run)


def print_accuracy(run: xarray.Dataset, accuracy: xarray.DataArray) -> None:
    """Prints mean (least - greatest) over trials, of each branch; last the numbers that the thesis published."""
    print_head("branch", LEVELS)
    for branch, name in NAMES.items():
        levels = [accuracy.sel(branch=branch, level=level).values for level in LEVELS.values()]
        print_row(name, [f"{at.mean():.2f} ({at.min():.2f} - {at.max():.2f})" for at in levels])
    (published,) = references_of(run, "test_accuracy_final")
    points = {f"{100 * density:.3g}%": f"{100 * value:.3g}" for density, value in published.points}
    print_row("the thesis' figure, by eye", [points.get(density, "") for density in LEVELS])


def print_differences(title: str, rows: dict[str, xarray.DataArray]) -> None:
    """Prints mean (least, greatest) over trials of differences (trial, level) in points."""
    print()
    print_head(title, COMPARED)
    for name, differences in rows.items():
        levels = [differences.sel(level=LEVELS[density]).values for density in COMPARED]
        print_row(name, [f"{at.mean():+.2f} ({at.min():+.2f}, {at.max():+.2f})" for at in levels])


def print_single_trials(run: xarray.Dataset) -> None:
    """Prints the least recall of a class at the end, and how trainings at 41% begin, of each trial."""
    first = int(run.step[0])
    print()
    print_head("branch", ["least recall of a class at 2.8%", f"validation accuracy at 41% after {first} steps"])
    for branch, name in NAMES.items():
        counts = run.test_confusion.sel(branch=branch, level=LEVELS["2.8%"]).isel(step=-1).values
        recall = (np.diagonal(counts, axis1=1, axis2=2) / counts.sum(axis=2)).min(axis=1)
        begun = run.validation_accuracy.sel(branch=branch, level=4, step=first).values
        print_row(name, [", ".join(f"{100 * value:.1f}" for value in values) for values in (recall, begun)])


def print_as_in_the_figure(run: xarray.Dataset) -> None:
    """Prints what the thesis' figure shows, means of the tests after ten epochs: mean (least - greatest)."""
    print()
    print_head("mean of the tests after 10,000 steps", LEVELS)
    late = 100 * run.test_accuracy.where(run.step > THESIS_CONVERGED).mean("step")
    for branch in (THESIS, RIGHT):
        levels = [late.sel(branch=branch, level=level).values for level in LEVELS.values()]
        print_row(NAMES[branch], [f"{at.mean():.2f} ({at.min():.2f} - {at.max():.2f})" for at in levels])


def print_head(first: str, others: Iterable[str]) -> None:
    """Prints the head of a Markdown table."""
    print_row(first, others)
    print_row("---", ["---" for _ in others])


def print_row(first: str, others: Iterable[str]) -> None:
    """Prints a row of a Markdown table."""
    print(f"| {' | '.join([first, *others])} |")


if __name__ == "__main__":
    main()
