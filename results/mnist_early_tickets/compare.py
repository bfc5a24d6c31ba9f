"""Prints the numbers of README.md from run.h5: `python results/mnist_early_tickets/compare.py`."""

from __future__ import annotations

from pathlib import Path

from lth_keras.storage import open_run

LEVELS = {"10.8%": 10, "3.6%": 15}
WINNING = "winning_ticket"


def main() -> None:
    """Prints a row for each epoch: accuracy, difference to the masks of the end, early stop and overlap, by density."""
    run = open_run(Path(__file__).parent)
    accuracy = 100 * run.test_accuracy_at_early_stop
    columns = [f"{name}: accuracy, % | against the end | early stop at | overlap" for name in LEVELS]
    print(f"| masks of | {' | '.join(columns)} |")
    print("|---" * (1 + 4 * len(LEVELS)) + "|")
    for branch in [*map(str, run.branch.values[1:]), WINNING]:
        cells = []
        for level in LEVELS.values():
            here = accuracy.sel(branch=branch, level=level)
            to_end = here - accuracy.sel(branch=WINNING, level=level)
            step = float(run.early_stop_step.sel(branch=branch, level=level).mean())
            overlap = float(run.mask_overlap.sel(branch=branch, level=level).mean())
            spread = f"{float(to_end.mean()):+.2f} ({float(to_end.min()):+.2f}, {float(to_end.max()):+.2f})"
            against = "" if branch == WINNING else spread
            cells += [
                f"{float(here.mean()):.2f}",
                against,
                f"{step:,.0f}",
                f"{overlap:.3g}" if overlap == 1 else f"{overlap:.3f}",
            ]
        name = "the end" if branch == WINNING else f"epoch {int(branch.removeprefix('epoch_'))}"
        print(f"| {name} | {' | '.join(cells)} |".replace("|  |", "| |"))
    print(f"\nDense: {float(accuracy.sel(branch=WINNING, level=0).mean()):.2f}%")
    for name, level in LEVELS.items():
        density = float(run.density.sel(branch=WINNING, level=level).mean())
        print(f"Overlap of two random masks at {name}: {density / (2 - density):.3f}")


if __name__ == "__main__":
    main()
