"""Prints the numbers of README.md from run.h5: `python results/composite_pruning/compare.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lth_keras.results import compare, open_run
from lth_keras.results.comparison import Comparison, Row

FOLDER = Path(__file__).parent
AT = 0.005
"""The density that the study's headlines are of."""
CRITERIA = ("magnitude", "synflow", "grasp", "grasp_magnitude", "snip", "random")
SCHEDULES = ("uss", "ums", "iss", "ims")
STUDY = {
    "winning_ticket": 90.91,
    "weights_snip_synflow_ums": 91.86,
    "weights_snip_magnitude_uss": 91.86,
    "synflow_iss": 93.36,
    "synflow_ims": 93.36,
    "grasp_uss": 76.07,
    "grasp_ums": 76.07,
}
"""Its headlines at that density, in percent, beside the rows here that may be meant."""


def by_branch(comparison: Comparison) -> dict[str, dict[float, Row]]:
    """Rows by branch and density, branches ranked at `AT`."""
    rows: dict[str, dict[float, Row]] = {}
    for row in comparison.rows:
        rows.setdefault(row.cell.branch, {})[round(row.density, 4)] = row
    return dict(sorted(rows.items(), key=lambda item: -item[1][AT].mean if AT in item[1] else 0))


def accuracies(rows: dict[str, dict[float, Row]]) -> None:
    """Prints mean accuracies; significant differences to the baseline have a star."""
    densities = list(next(iter(rows.values())))
    print(f"| row | {' | '.join(f'{100 * density:g}%' for density in densities)} |")
    print(f"|---|{'---|' * len(densities)}")
    for branch, cells in rows.items():
        shown = [
            f"{100 * row.mean:.2f}{'*' if row.verdict in ('higher', 'lower') else ''}"
            for row in (cells[density] for density in densities)
        ]
        print(f"| {branch} | {' | '.join(shown)} |")


def ablation(rows: dict[str, dict[float, Row]]) -> None:
    """Prints mean accuracies of each criterion under each schedule."""
    for density in (0.1, 0.015, AT):
        print(f"\n| at {100 * density:g}% | {' | '.join(SCHEDULES)} |")
        print(f"|---|{'---|' * len(SCHEDULES)}")
        for criterion in CRITERIA:
            branches = [f"{criterion}_{schedule}" for schedule in SCHEDULES]
            found = [rows[{"magnitude_iss": "winning_ticket"}.get(name, name)][density] for name in branches]
            print(f"| {criterion} | {' | '.join(f'{100 * row.mean:.2f}' for row in found)} |")


def headlines(rows: dict[str, dict[float, Row]]) -> None:
    """Prints the study's numbers beside ours at `AT`, with spread and p-values."""
    print(
        f"\n| row at {100 * AT:g}% | study | here | against winning_ticket | Welch, Holm | permutation, uncorrected |"
    )
    print("|---|---|---|---|---|---|")
    for branch, theirs in STUDY.items():
        if branch not in rows:
            continue
        row = rows[branch][AT]
        cells = ["", "", ""]
        if row.pairs:
            cells = [f"{100 * row.pairs.difference:+.2f}", f"{row.p_holm:.2g}", f"{row.pairs.p['permutation']:.3f}"]
        here = f"{100 * row.mean:.2f} ({100 * row.low:.2f} - {100 * row.high:.2f})"
        print(f"| {branch} | {theirs:.2f} | {here} | {' | '.join(cells)} |")


def masks_and_scores(folder: Path) -> None:
    """Prints what masks share with the winning ticket's at 1.5%, and how alike scores rank; means over trials."""
    run = open_run(folder)
    level = 4
    size, density = run["size"].values, run.weight_density.sel(level=level)
    ticket = density.sel(branch="winning_ticket").values
    print(
        "\nJaccard index with the winning ticket's mask at 1.5%, and of random masks with as much of each layer, in %:"
    )
    for branch in run.branch.values:
        both = (ticket * density.sel(branch=branch).values * size).sum(-1)
        either = ((ticket + density.sel(branch=branch).values) * size).sum(-1) - both
        shared = 100 * float(run.mask_overlap.sel(branch=branch, level=level).mean("trial"))
        print(f"- {branch}: {shared:.1f}, {100 * np.nanmean(both / either):.1f}")
    print("\nSpearman's correlation of scores before training:")
    names = [str(name) for name in run.criterion.values]
    for name, row in zip(names, run.score_correlation.mean("trial").values, strict=True):
        print(f"- {name}: " + ", ".join(f"{other} {value:.2f}" for other, value in zip(names, row, strict=True)))
    zero = 1 - run.score_share.sum("sign").mean("trial")  # of each layer; over all weights by their number
    print("\nShare of scores that are zero:")
    for name in names:
        print(f"- {name}: {100 * float((zero.sel(criterion=name).values * size).sum() / size.sum()):.0f}%")


def speed(folder: Path) -> None:
    """Prints what a step took on the whole network and on the smaller ones."""
    run = open_run(folder)
    steps = run.validation_loss.notnull().sum("step") * int(run.step[0])
    milliseconds = 1000 * run.seconds / steps
    print("\nMilliseconds a step, everything included, median over rows and trials:")
    for level in run.level.values:
        values = milliseconds.sel(level=level).values
        density = float(np.nanmean(run.density.sel(level=level).values))
        length = float(np.nanmean(steps.sel(level=level).values))
        print(f"- {100 * density:.1f}%: {np.nanmedian(values):.2f} in trainings of {length:,.0f} steps")
    print(f"{run.seconds.sum().item() / 3600:.1f} hours of trainings, those of shared dense networks counted again")


def main(folder: Path = FOLDER) -> None:
    """Prints all of it."""
    comparison = compare(open_run(folder), test="welch")
    rows = by_branch(comparison)
    accuracies(rows)
    print(f"\n* Welch's t, Holm over {comparison.comparisons} comparisons, at most {comparison.alpha}.")
    ablation(rows)
    headlines(rows)
    masks_and_scores(folder)
    speed(folder)


if __name__ == "__main__":
    main()
