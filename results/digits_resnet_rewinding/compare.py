"""Prints the numbers of README.md: `python results/digits_resnet_rewinding/compare.py [FOLDER] [LEVELS]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats

from lth_keras.storage import open_run

FOLDER = Path(__file__).parent
LEVELS = (2, 4, 6, 8, 10, 12, 14)
BRANCHES = ("late", "learning_rate", "fine_tune", "winning_ticket")


def paired(values: np.ndarray, base: np.ndarray) -> str:
    """The mean difference of trials, with its 95% interval by Student's t."""
    differences = values - base
    half = scipy.stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
    mean = differences.mean()
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


def main(folder: Path = FOLDER, levels: Sequence[int] = LEVELS) -> None:
    """Prints the test accuracy after the last step of each form of rewinding, and its difference to `late`."""
    run = open_run(folder)
    accuracy = 100 * run.test_accuracy_final
    print("| level | density | " + " | ".join(BRANCHES) + " |")
    print("|---|---|" + "---|" * len(BRANCHES))
    for level in (0, *levels):
        at = accuracy.sel(level=level)
        late = at.sel(branch=BRANCHES[0]).values
        cells = [f"{late.mean():.2f}"]
        for branch in BRANCHES[1:] if level else ():
            own = at.sel(branch=branch).values
            cells.append(f"{own.mean():.2f}: {paired(own, late)}")
        density = float(run.density.sel(level=level).mean())
        print(f"| {level} | {100 * density:.1f}% | {' | '.join(cells + [''] * (len(BRANCHES) - len(cells)))} |")
    print(f"\nAll trainings: {float(run.seconds.sum()) / 3600:.2f} hours of one thread")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]), *([tuple(map(int, sys.argv[2:]))] if sys.argv[2:] else []))
