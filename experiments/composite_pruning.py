"""Criteria, schedules and composites compared in LeNet-300-100 on MNIST (Lutz & Manai, 2022, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.command import main
from experiments.composite_presets import STUDIED
from experiments.composites import Rows
from experiments.described import layers_of
from experiments.flags import EngineName, Length, Scope

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch

EXAMPLES = 55_000
"""Number of training examples."""


@dataclass(frozen=True)
class Config(Rows):
    """Criteria, schedules and composites compared: LeNet-300-100 on MNIST as in "Hitting the Jackpot" (2022).

    Every row is a branch with its own masks. Names of rows:
    CRITERION_SCHEDULE: masks by one criterion.
    stacked_FIRST_SECOND_SCHEDULE: masks by SECOND of a network whose weights are the scores of FIRST.
    weights_FIRST_SECOND_SCHEDULE: initial weights made from the scores of FIRST, masks by SECOND.
    bimodal_FIRST_SECOND_SCHEDULE: the same with initial weights of two sizes.
    With _drawn at the end the masks are computed from the weights as drawn, before FIRST changes them.

    Schedules: before training in a single shot (uss) or multiple shots (ums); at every level in a single shot (iss) or
    multiple shots (ims). magnitude_iss is the branch winning_ticket, the baseline.

    Kaiming normal weights (Keras' he_normal, truncated at two standard deviations; the study's are not truncated), SGD
    0.1, batches of 64, no weight decay, global scope. Pruning may remove a whole layer. Such a network is trained all
    the same and gives the same answer to every image; a table lists these networks.
    """

    examples: ClassVar[tuple[int, int, int]] = (EXAMPLES, 5_000, 10_000)
    scope: ClassVar[Scope] = "global"

    trials: int = 5
    """Number of trials. All rows have the same seeds. A larger number extends the run."""
    levels: int = 8
    """Number of --densities to train at, from the first. A larger number extends the run."""
    steps: Length = None
    epochs: Length = 100
    """Largest number of epochs of each training, in full batches. Replaces --steps."""
    patience: int | None = 5
    """End a training after this many evaluations without a lower validation loss. The study states no patience."""
    engine: EngineName = "compact"
    """How tickets are trained. compact leaves out inputs and units that pruning has disconnected, which are most of
    them in most rows. Results of different engines agree within float32 rounding."""
    batch_size: int = 64
    evaluate_every: int = EXAMPLES // 64
    """Steps between evaluations on the validation split. They determine the early-stop step. Default: an epoch."""
    test_every: int = 10 * (EXAMPLES // 64)
    learning_rate: float = 0.1
    """SGD's learning rate."""
    samples_per_class: int = 10
    """Training examples of each class for criteria that use gradients."""

    def model(self) -> keras.Model:
        """The network, with newly drawn weights."""
        from lth_keras.models import lenet_300_100

        return lenet_300_100(kernel_initializer="he_normal")

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        known = {name: value for name, value in super().training().items() if name != "criterion"}
        return {
            **known,
            "early stopping": "none" if self.patience is None else f"patience {self.patience} evaluations",
            "steps between evaluations": f"{self.evaluate_every:,}",
            "optimiser": f"SGD, learning rate {self.learning_rate:g}",
            "initial weights": "Kaiming normal, truncated at two standard deviations",
            "densities": ", ".join(f"{100 * density:g}%" for density in self.densities[: self.levels]),
            "scope": self.scope,
            "engine": self.engine,
            "shots": f"{self.shots}, exponential",
            "examples for scoring": f"{self.samples_per_class} of each class",
        }


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import mnist
    from lth_keras.search import Observation

    return config.ticket_search(
        threads,
        build=config.model,
        data=lambda seed: mnist.load(seed=seed),
        optimizer=lambda: keras.optimizers.SGD(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        densities=config.densities,
        samples_per_class=config.samples_per_class,
        min_per_layer=0,
        cut_through="train",
        variants=config.variants,
        observe=Observation(weights=True, criteria=STUDIED),
        name="composite_pruning",
    )


if __name__ == "__main__":
    main(Config, make_search, "composite_pruning")
