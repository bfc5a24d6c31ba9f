"""Prints the numbers of README.md from run.h5: `python results/thesis_postmortem/compare.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lth_keras.results import open_run

LEVELS = {"100%": 0, "51%": 3, "21%": 7, "10.8%": 10, "6.9%": 12, "5.5%": 13, "2.8%": 16}


def main() -> None:
    """Prints accuracy by density, what each correction gains, and the least recall of a class."""
    run = open_run(Path(__file__).parent)
    accuracy = 100 * run.test_accuracy_final
    names = [str(name) for name in run.branch.values]
    order = [name for name in ("winning_ticket", "thesis") if name in names]
    order += [name for name in names if name not in order]
    print(f"| branch | {' | '.join(LEVELS)} |")
    print(f"|---|{'---|' * len(LEVELS)}")
    for name in order:
        cells = []
        for level in LEVELS.values():
            values = accuracy.sel(branch=name, level=level).values
            there = values[np.isfinite(values)]
            cells.append(f"{there.mean():.2f} ({there.min():.2f} - {there.max():.2f})" if there.size else "-")
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| corrected | 10.8% | 5.5% | 2.8% |\n|---|---|---|---|")
    for name in order:
        if name != "thesis":
            gains = [
                (accuracy.sel(branch=name) - accuracy.sel(branch="thesis")).sel(level=n).values for n in (10, 13, 16)
            ]
            shown = [f"{np.nanmean(g):+.2f} ({np.nanmin(g):+.2f}, {np.nanmax(g):+.2f})" for g in gains]
            print(f"| {name} | {' | '.join(shown)} |")
    print("\nLeast recall of a class at 2.8%, by trial:")
    for name in order:
        counts = run.test_confusion.sel(branch=name, level=16).isel(step=-1).values
        counts = np.where(counts < 0, np.nan, counts)
        recall = np.diagonal(counts, axis1=1, axis2=2) / counts.sum(axis=2)
        print(f"- {name}: " + ", ".join(f"{100 * row.min():.1f}" for row in recall if np.isfinite(row).all()))


if __name__ == "__main__":
    main()
