"""Prints the numbers of README.md from run.h5: `python results/composite_pruning/compare.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import optimize, stats

from lth_keras.analysis import compare
from lth_keras.analysis.comparison import Comparison, Row
from lth_keras.storage import open_run

FOLDER = Path(__file__).parent
AT = 0.005
"""The density that the study's headlines are of."""
CRITERIA = ("magnitude", "synflow", "grasp", "grasp_magnitude", "snip", "random")
SCHEDULES = {
    "uss": "before training, 1 shot",
    "ums": "before training, 100 shots",
    "iss": "iterative, 1 shot",
    "ims": "iterative, 100 shots",
}
"""The study's abbreviations, in which names of branches end."""
STUDY = {
    "winning_ticket": ("Magnitude on standard (ISS)", 90.91),
    "weights_snip_synflow_ums": ("SynFlow on SNIP (UMS)", 90.75),
    "stacked_snip_synflow_ums": ("SNIPSynFlowStacked on standard (UMS)", 89.49),
    "grasp_magnitude_ums": ("GraSPMagStacked on standard (UMS)", 90.51),
    "snip_ums": ("SNIP on standard (UMS)", 89.83),
    "synflow_ums": ("SynFlow on standard (UMS)", 88.89),
    "weights_synflow_synflow_ums": ("SynFlow on SynFlow", 88.71),
    "grasp_ums": ("GraSP on standard", 76.07),
    "magnitude_ums": ("Magnitude on standard", 64.17),
}
"""Rows of its tables 5.14 (those with a schedule) and 5.13 that are rows here, and their accuracies at that density, in
percent. Rows that both tables have are the same, so those of 5.13 are before training in many shots too."""
COMPOSITE = 91.86
"""Table 5.14: MagSynFlowStacked on SNIP (UMS), its best: by formula SynFlow on SNIP, as SynFlow takes magnitudes."""
STUDY_ITERATIVE = {0.1: 97.99, 0.015: 96.53, 0.01: 95.79, 0.007: 94.31, AT: 90.91}
"""Table 5.14: its iterative magnitude pruning by density, in percent."""


def label(branch: str) -> str:
    """A branch's name with its schedule spelled out: `snip, before training, 1 shot`."""
    name, _, ending = branch.removesuffix("_drawn").rpartition("_")
    drawn = ", masks of the drawn weights" if branch.endswith("_drawn") else ""
    return f"{name}, {SCHEDULES[ending]}{drawn}" if ending in SCHEDULES else branch


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
        print(f"| {label(branch)} | {' | '.join(shown)} |")


def ablation(rows: dict[str, dict[float, Row]]) -> None:
    """Prints mean accuracies of each criterion under each schedule."""
    print(f"\n| | {' | '.join(CRITERIA)} |")
    print(f"|---|{'---|' * len(CRITERIA)}")
    for density in (0.1, 0.015, AT):
        for ending, schedule in SCHEDULES.items():
            names = [f"{criterion}_{ending}" for criterion in CRITERIA]
            found = (rows["winning_ticket" if name == "magnitude_iss" else name][density].mean for name in names)
            print(f"| {100 * density:g}%, {schedule} | {' | '.join(f'{100 * mean:.2f}' for mean in found)} |")


def headlines(rows: dict[str, dict[float, Row]]) -> None:
    """Prints the study's numbers beside ours at `AT`, with spread and p-values."""
    print(
        f"\n| row at {100 * AT:g}% | in the study | study | here | against winning_ticket | Welch, Holm | "
        "permutation, uncorrected |"
    )
    print("|---|---|---|---|---|---|---|")
    for branch, (name, theirs) in STUDY.items():
        row = rows[branch][AT]
        cells = ["", "", ""]
        if row.pairs:
            cells = [f"{100 * row.pairs.difference:+.2f}", f"{row.p_holm:.2g}", f"{row.pairs.p['permutation']:.3f}"]
        here = f"{100 * row.mean:.2f} ({100 * row.low:.2f} - {100 * row.high:.2f})"
        print(f"| {label(branch)} | {name} | {theirs:.2f} | {here} | {' | '.join(cells)} |")
    print("\n| iterative magnitude pruning | study | here |")
    print("|---|---|---|")
    for density, theirs in STUDY_ITERATIVE.items():
        print(f"| {100 * density:g}% | {theirs:.2f} | {100 * rows['winning_ticket'][density].mean:.2f} |")


def against_snip(folder: Path) -> None:
    """Prints what the study's composite gains over SNIP alone, both in many shots, trial by trial."""
    run = open_run(folder)
    gains = run.test_accuracy_at_early_stop.sel(branch="weights_snip_synflow_ums")
    gains = 100 * (gains - run.test_accuracy_at_early_stop.sel(branch="snip_ums"))
    (snip,) = (theirs for name, theirs in STUDY.values() if name == "SNIP on standard (UMS)")
    print(f"\nAgainst its SNIP the study has at {100 * AT:g}% {COMPOSITE - snip:+.2f} with its composite, ", end="")
    print(f"{STUDY['weights_snip_synflow_ums'][1] - snip:+.2f} with SynFlow on SNIP.")
    print("weights_snip_synflow_ums against snip_ums, in points, mean (least, greatest):")
    for level in run.level.values[1:]:
        one = gains.sel(level=level).values
        density = float(run.density.sel(branch="snip_ums", level=level).mean())
        print(f"- {100 * density:.1f}%: {one.mean():+.2f} ({one.min():+.2f}, {one.max():+.2f}), ", end="")
        print(f"above in {(one > 0).sum()} of {one.size} trials")


def truncation() -> None:
    """Prints how many weights of the first layer a global ranking by magnitude keeps before training, by initialiser.

    Expected numbers of Kaiming normal weights in LeNet-300-100: with Keras' `he_normal`, which draws again what is
    beyond two standard deviations, and without that.
    """
    inputs, sizes = np.array([784, 300, 100]), np.array([784 * 300, 300 * 100, 100 * 10])
    deviations = np.sqrt(2 / inputs)
    cut = deviations / stats.truncnorm.std(-2, 2)
    beyond = {
        "truncated": lambda least: 2 * stats.truncnorm.sf(least / cut, -2, 2),
        "not truncated": lambda least: 2 * stats.norm.sf(least / deviations),
    }
    print("\nWeights of the first layer that magnitude keeps before training, expected:")
    for name, share in beyond.items():
        kept = []
        for density in (0.1, 0.015, AT):
            excess = lambda least, d=density, s=share: float((sizes * s(least)).sum() - d * sizes.sum())  # noqa: E731
            kept.append(f"{(sizes * share(optimize.brentq(excess, 1e-6, 1)))[0]:,.0f} at {100 * density:g}%")
        print(f"- {name}: {', '.join(kept)}")


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
    print("\nJaccard index of magnitude's masks before training in one shot and in many:")
    pair = run.mask_overlap_pairs.sel(branch="magnitude_uss", other_branch="magnitude_ums").mean("trial")
    dense = run.density.sel(branch="magnitude_uss").mean("trial")
    shown = zip(dense.values[1:], pair.values[1:], strict=True)
    print("- " + ", ".join(f"{100 * at:.1f}%: {shared:.3f}" for at, shared in shown))
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
    print("\nEverything included, median over rows and trials:\n")
    print("| density | ms a step | steps |")
    print("|---|---|---|")
    for level in run.level.values:
        values = milliseconds.sel(level=level).values
        density = float(np.nanmean(run.density.sel(level=level).values))
        length = float(np.nanmean(steps.sel(level=level).values))
        print(f"| {100 * density:.1f}% | {np.nanmedian(values):.2f} | {length:,.0f} |")
    print(f"\n{run.seconds.sum().item() / 3600:.1f} hours of trainings, those of shared dense networks counted again")


def main(folder: Path = FOLDER) -> None:
    """Prints all of it."""
    comparison = compare(open_run(folder), test="welch")
    rows = by_branch(comparison)
    accuracies(rows)
    print(f"\n* Welch's t, Holm over {comparison.comparisons} comparisons, at most {comparison.alpha}.")
    ablation(rows)
    headlines(rows)
    against_snip(folder)
    truncation()
    masks_and_scores(folder)
    speed(folder)


if __name__ == "__main__":
    main()
