"""Prints the numbers of README.md from run.h5: `python results/cifar10_conv6/compare.py`."""

from __future__ import annotations

from pathlib import Path

from lth_keras.storage import open_run


def main() -> None:
    """Prints accuracy and loss of every training, at early stop and along the way."""
    run = open_run(Path(__file__).parent).isel(trial=0)
    steps = [int(step) for step in run.step.values if step % 1000 == 0]
    print(f"| level | density | branch | early stop at | accuracy there | {' | '.join(f'at {s:,}' for s in steps)} |")
    print(f"|---|---|---|---|---|{'---|' * len(steps)}")
    for level in run.level.values:
        for branch in run.branch.values if level else run.branch.values[:1]:
            one = run.sel(branch=branch, level=level)
            tests = " | ".join(f"{100 * float(one.test_accuracy.sel(step=step)):.1f}" for step in steps)
            cells = f"{float(one.early_stop_step):,.0f} | {100 * float(one.test_accuracy_at_early_stop):.1f} | {tests}"
            print(f"| {level} | {100 * float(one.density):.1f}% | {branch if level else 'dense'} | {cells} |")
    print(f"\nSeconds a step, the quickest training: {float(run.seconds.min()) / steps[-1]:.2f}")
    print("\nWeights left of each kind at the last level, by weight:")
    left = run.weight_density.sel(branch="winning_ticket").isel(level=-1)
    print(", ".join(f"{name}: {100 * float(left.sel(weight=name)):.1f}%" for name in run.weight.values))


if __name__ == "__main__":
    main()
