"""Prints the numbers of README.md from run.h5: `python results/newsgroups_end2end/compare.py`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import xarray

from lth_keras.storage import open_run

FOLDER = Path(__file__).parent
CONVERGED = 3
"""Epochs that the thesis' figure leaves out: it shows means over the others."""
THESIS = {0: 74.9, 5: 76.6, 10: 75.0}
"""The thesis' figure 7.10 by level, in percent, read off by eye."""
METRICS = ("test_precision_macro", "test_recall_macro")


def row(run: xarray.Dataset, level: int, branch: str) -> str:
    """A line of the table: means over trials, in percent."""
    cell = run.sel(level=level, branch=branch)
    numbers = [cell.density, cell.test_accuracy_at_early_stop, cell.test_accuracy_final]
    numbers += [cell[name].isel(step=-1) for name in METRICS]
    texts = [f"{100 * float(number.mean('trial')):.1f}" for number in numbers]
    step = f"{float(cell.early_stop_step.mean('trial')):,.0f}"
    return f"| {level} | {branch if level else 'dense'} | " + " | ".join([texts[0], step, *texts[1:]]) + " |"


def main() -> None:
    """Prints the table; the winning ticket against dense and the controls; time and memory."""
    run = open_run(FOLDER)
    epoch = int(run.step[0])
    print("| level | branch | density, % | early-stop step | accuracy there, % | accuracy at the end, % |", end="")
    print(" macro precision, % | macro recall, % |")
    print("|---" * 8 + "|")
    for level in run.level.values:
        for branch in run.branch.values[: None if level else 1]:
            if np.isfinite(run.density.sel(level=level, branch=branch)).any():
                print(row(run, int(level), str(branch)))
    print(f"\n{epoch} steps an epoch, {int(run.step[-1]) // epoch} epochs; {run.sizes['trial']} trial(s)")
    finished = np.isfinite(run.seconds.values)
    print(
        f"a training: {np.nanmedian(run.seconds) / 60:.1f} min (median), {np.nanmax(run.seconds) / 60:.1f} min at most"
    )
    print(f"peak memory of a process: {np.nanmax(run.peak_memory_bytes) / 1e9:.2f} GB")
    print(f"levels: {int(finished.sum())} with the dense one in every branch")
    weights = json.loads(run.attrs["config"])["weights"]
    print("prunable weights: " + ", ".join(f"{kind} {count['prunable']:,}" for kind, count in weights.items()))
    beside_the_thesis(run)


def beside_the_thesis(run: xarray.Dataset) -> None:
    """Prints a table: the thesis' figure, and ours after the last step and as its figure has it."""
    theirs = open_run(FOLDER / "thesis_protocol")
    print("\n| winning ticket | the thesis | here, its protocol | here, with validation |")
    print("|---|---|---|---|")
    for level, value in THESIS.items():
        cells = [as_in_the_figure(one, level) if level in one.level else "" for one in (theirs, run)]
        density = f"{100 * float(run.density.sel(level=level, branch='winning_ticket').mean()):.1f}%"
        print(f"| {density} | {value:.1f} | {' | '.join(cells)} |")
    whole = run.documents.where(run.length <= run.documents.cut_off).sum("length") / run.documents.sum("length")
    print("\nDocuments left whole: ", end="")
    print(", ".join(f"{name} {100 * float(whole.sel(split=name)):.1f}%" for name in run.split.values))


def as_in_the_figure(run: xarray.Dataset, level: int) -> str:
    """Accuracy after the last step, and the mean over the epochs that the thesis' figure shows, in percent."""
    tests = 100 * run.test_accuracy.sel(branch="winning_ticket", level=level).mean("trial")
    return f"{float(tests.isel(step=-1)):.1f}; {float(tests.isel(step=slice(CONVERGED, None)).mean()):.1f}"


if __name__ == "__main__":
    main()
