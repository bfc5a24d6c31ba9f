"""Why the thesis found no winning tickets on MNIST: its method, corrected one cause at a time (Unverzagt, 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from experiments.command import main
from experiments.flags import Length
from experiments.lenet import LeNet

if TYPE_CHECKING:
    import xarray
    from rich.console import RenderableType

    from lth_keras.search import TicketSearch

CAUSES = ("initial_masks", "raw_pixels", "one_optimiser", "full_output")
"""Differences between the thesis' code and the paper."""

PROTOCOLS: dict[str, tuple[str, ...]] = {
    "thesis": CAUSES,
    "thesis_trained_masks": ("raw_pixels", "one_optimiser", "full_output"),
    "thesis_scaled_pixels": ("initial_masks", "one_optimiser", "full_output"),
    "thesis_new_optimiser": ("initial_masks", "raw_pixels", "full_output"),
    "thesis_half_output": ("initial_masks", "raw_pixels", "one_optimiser"),
    "thesis_slow": (*CAUSES, "slow"),
    "only_initial_masks": ("initial_masks",),
    "only_raw_pixels": ("raw_pixels",),
    "only_one_optimiser": ("one_optimiser",),
    "only_full_output": ("full_output",),
    "only_slow": ("slow",),
}
"""Protocol to its causes. `slow` is the learning rate of the thesis' text, a tenth of its code's."""

if TYPE_CHECKING:
    Protocol = str
else:
    Protocol = Literal[*PROTOCOLS]

DENSITIES = (1.0, 0.51, 0.21, 0.108, 0.055, 0.028)


@dataclass(frozen=True)
class Config(LeNet):
    """LeNet-300-100 on MNIST with the protocol of the thesis' code, and with one cause corrected at a time.

    The thesis' code had four differences from the paper. Masks came from the initial weights, not the trained ones.
    Pixels stayed 0 ... 255. One optimiser was used for all levels, so Adam's step count was never reset. The output
    layer was pruned at the full rate. Other differences are not copied: 50,000 steps, no validation split, Glorot
    uniform weights.

    The branch `thesis` has all four differences, `winning_ticket` has none. `thesis_trained_masks` and the like have
    all but one; `only_initial_masks` and the like have only one. `slow` is the learning rate of the thesis' text. All
    branches start from the same initial weights.
    """

    trials: int = 3
    levels: int = 16
    steps: Length = 20_000
    protocols: tuple[Protocol, ...] = tuple(PROTOCOLS)
    """Protocols to train with. Each is a branch. More protocols extend the run."""
    branches: tuple[str, ...] = ("winning_ticket",)  # type: ignore[assignment]
    """Branches to train beside --protocols."""
    slow_learning_rate: float = 1.2e-4
    """The learning rate that the thesis' text gives."""

    def asked_branches(self) -> tuple[str, ...]:
        """The branches, protocols included."""
        return (*self.branches, *self.protocols)

    def identity(self) -> dict[str, Any]:
        """The parameters without the protocols: more protocols extend a run."""
        return {name: value for name, value in super().identity().items() if name != "protocols"}

    def described(self) -> Iterable[RenderableType]:
        """The tables of every experiment, and the causes of each protocol."""
        if not self.describe:
            return
        from lth_keras.report import parameters_table

        yield from super().described()
        causes: dict[str, str] = {name: ", ".join(PROTOCOLS[name]).replace("_", " ") for name in self.protocols}
        yield parameters_table("Protocols, and what each does otherwise", {"winning_ticket": "nothing", **causes})

    def tables(self, dataset: xarray.Dataset) -> Iterable[RenderableType]:
        """Accuracy by protocol and density."""
        from lth_keras.report import densities_table

        return [densities_table(dataset, DENSITIES)]


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import mnist

    changes: dict[str, dict[str, Any]] = {
        "initial_masks": {"criterion": "initial_magnitude"},
        "raw_pixels": {"data": lambda seed: mnist.load(seed=seed, scaled=False)},
        "one_optimiser": {"carry_step_count": True},
        "full_output": {"rates": {"dense": config.dense_rate, "output": config.dense_rate}},
        "slow": {"optimizer": lambda: keras.optimizers.Adam(config.slow_learning_rate)},
    }
    variants = {
        protocol: {name: value for cause in PROTOCOLS[protocol] for name, value in changes[cause].items()}
        for protocol in config.protocols
    }
    return config.search("thesis_postmortem", mnist.load, threads, variants=variants)


if __name__ == "__main__":
    main(Config, make_search, "thesis_postmortem")
