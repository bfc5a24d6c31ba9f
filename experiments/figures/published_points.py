"""Published numbers, and figures that show them beside a run of the experiment that repeats them."""

from __future__ import annotations

from functools import partial

import xarray

from lth_keras.analysis import at_early_stop, at_the_end, validated
from lth_keras.plots import Draw, Reference, accuracy_figure, convergence_figure, early_stop_figure, mark_unfinished

AT_EARLY_STOP, FINAL, STEP = "test_accuracy_at_early_stop", "test_accuracy_final", "early_stop_step"
_THESIS = "Unverzagt, 2020"
_PAPER = "Frankle & Carbin, 2019"
_FROM = "from the dense network here"
_THEIRS = "mean over epochs after convergence, masks of the initial weights, no validation split, 1 trial"
_LENET = (
    # Figure 7.2, read off by eye: the mean of the tests after each epoch from the 11th to the 50th, not the last alone.
    Reference(f"{_THESIS}: {_THEIRS}", FINAL, ((1.0, 0.972), (0.069, 0.957), (0.028, 0.91))),
    # Section 2, "Iterative pruning": a gain of more than 0.3 points at 13.5%, that of the dense network again at 3.6%;
    # early stop 38% earlier at 21%.
    Reference(f"{_PAPER}, section 2: gain over dense, {_FROM}", AT_EARLY_STOP, ((0.135, 0.003), (0.036, 0)), True),
    Reference(f"{_PAPER}, section 2: share of dense, {_FROM}", STEP, ((0.21, 0.62),), True),
)


def _convolutional(gain: tuple[float, float], speed: tuple[float, float]) -> tuple[Reference, ...]:
    """Section 3: the greatest gain over the dense network, and the greatest speed-up of the early stop."""
    density, times = speed
    return (
        Reference(f"{_PAPER}, section 3: greatest gain over dense, {_FROM}", AT_EARLY_STOP, (gain,), True),
        Reference(f"{_PAPER}, section 3: least share of dense, {_FROM}", STEP, ((density, 1 / times),), True),
    )


REFERENCES: dict[str, tuple[Reference, ...]] = {
    "mnist_lenet_fcn": _LENET,
    "mnist_early_tickets": _LENET,
    "thesis_postmortem": _LENET[:1],
    "cifar10_conv2": _convolutional((0.046, 0.034), (0.088, 3.5)),
    "cifar10_conv4": _convolutional((0.111, 0.035), (0.092, 3.5)),
    "cifar10_conv6": (
        # Figure 7.4, read off by eye: the mean of the tests from epoch 6 to 36.
        Reference(f"{_THESIS}: {_THEIRS}", FINAL, ((1.0, 0.783), (0.1, 0.73))),
        *_convolutional((0.264, 0.033), (0.151, 2.5)),
    ),
    "newsgroups_end2end": (
        # Figure 7.10, read off by eye: the mean of the tests from epoch 4 to 10. Masks of the initial weights here too.
        Reference(
            f"{_THESIS}: {_THEIRS}",
            FINAL,
            ((1.0, 0.749), (0.328, 0.766), (0.107, 0.750)),
        ),
    ),
}
"""By the experiment that repeats them. Paper: "The Lottery Ticket Hypothesis", arXiv:1803.03635v5. Thesis: "Application
of the Lottery Ticket Hypothesis in NLP and Early Pruning"."""


def references_of(dataset: xarray.Dataset, variable: str) -> tuple[Reference, ...]:
    """Published points for a run's experiment and a variable; empty for other experiments."""
    known = REFERENCES.get(str(dataset.attrs.get("experiment")), ())
    return tuple(reference for reference in known if reference.variable == variable)


def figures(dataset: xarray.Dataset, baseline: str | None = None) -> dict[str, Draw | None]:
    """`accuracy`, `early_stop` and `convergence` with their published points."""
    found: dict[str, Draw | None] = {}
    if validated(dataset):
        found["accuracy"] = partial(accuracy_figure, dataset, references_of(dataset, at_early_stop(dataset)))
        found["early_stop"] = partial(early_stop_figure, dataset, references_of(dataset, STEP))
    found["convergence"] = partial(convergence_figure, dataset, references_of(dataset, at_the_end(dataset)))
    return mark_unfinished(dataset, found)
