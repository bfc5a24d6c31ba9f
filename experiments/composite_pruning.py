"""Every criterion, every schedule and their composites in LeNet-300-100 on MNIST (Lutz & Manai, 2022, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.command import EngineName, Length, main
from experiments.composite_presets import STUDIED
from experiments.composites import Rows
from experiments.described import layers_of
from lth_keras.data.sampling import SAMPLES_PER_CLASS

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize
    from lth_keras.search.search import TicketSearch

EXAMPLES = 55_000
"""Of the training split."""


@dataclass(frozen=True)
class Config(Rows):
    """Criteria, schedules and composites compared: LeNet-300-100 on MNIST as in "Hitting the Jackpot" (2022).

    Every row is a branch with masks of its own; all of a trial start from the same initial weights, but those rows
    that make others of them. Rows are named CRITERION_SCHEDULE, stacked_FIRST_SECOND_SCHEDULE,
    weights_FIRST_SECOND_SCHEDULE (initial weights of FIRST's scores, masks by SECOND) and bimodal_...; with _drawn the
    masks are of the weights before that. Schedules: before training in one shot (uss) or many (ums), level by level in
    one (iss) or many (ims). magnitude_iss is the branch winning_ticket, the baseline.

    Kaiming normal weights (Keras' he_normal, truncated at two standard deviations; the study's are not truncated), SGD
    0.1, batches of 64, no weight decay, global scope. A layer may collapse: a network that is cut through is trained as
    it is, so its accuracy is that of the same answer to every image, and a table says so.
    """

    examples: ClassVar[tuple[int, int, int]] = (EXAMPLES, 5_000, 10_000)

    trials: int = 5
    """Number of trials, each with its own seed: the same for all rows. More extend the run."""
    levels: int = 8
    """Densities to go through, from the first. More extend the run."""
    steps: Length = None
    epochs: Length = 100
    """Passes over the training examples per training, in full batches, at most. Instead of --steps."""
    patience: int | None = 5
    """End a training after so many evaluations, of one an epoch, without a lower validation loss. The study stopped
    early too; appendix C has no patience, so this one is a choice."""
    engine: EngineName = "compact"
    """What trains. compact leaves out the inputs and units that pruning has cut off: of most rows here little is left.
    The numbers of engines agree within float32 rounding."""
    batch_size: int = 64
    evaluate_every: int = EXAMPLES // 64
    """Steps between evaluations on the validation split, which decide the early-stop step. Default: an epoch."""
    test_every: int = 10 * (EXAMPLES // 64)
    learning_rate: float = 0.1
    """SGD's learning rate."""
    samples_per_class: int = SAMPLES_PER_CLASS
    """Training examples of each class that criteria which take gradients look at."""

    def model(self) -> keras.Model:
        """The network, with weights drawn anew."""
        from lth_keras.models import lenet_300_100

        return lenet_300_100(kernel_initializer="he_normal")

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """How it is trained, for people."""
        known = {name: value for name, value in super().training().items() if name != "criterion"}
        return {
            **known,
            "early stopping": "none" if self.patience is None else f"patience {self.patience} evaluations",
            "steps between evaluations": f"{self.evaluate_every:,}",
            "optimiser": f"SGD, learning rate {self.learning_rate:g}",
            "initial weights": "Kaiming normal, truncated at two standard deviations",
            "densities": ", ".join(f"{100 * density:g}%" for density in self.densities[: self.levels]),
            "scope": "global",
            "engine": self.engine,
            "shots": f"{self.shots}, exponential",
            "examples for scoring": f"{self.samples_per_class} of each class",
        }


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import mnist
    from lth_keras.search.observation import Observation

    return config.ticket_search(
        threads,
        build=config.model,
        data=lambda seed: mnist.load(seed=seed),
        optimizer=lambda: keras.optimizers.SGD(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        densities=config.densities,
        scope="global",
        samples_per_class=config.samples_per_class,
        min_per_layer=0,
        cut_through="train",
        variants=config.variants,
        observe=Observation(weights=True, criteria=STUDIED),
        name="composite_pruning",
    )


if __name__ == "__main__":
    main(Config, make_search, "composite_pruning")
