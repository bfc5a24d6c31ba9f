"""Conv-2, Conv-4 and Conv-6 on CIFAR-10: the lottery ticket paper's convolutional networks (2019, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from experiments.command import Length, Options, main

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch


class Paper(NamedTuple):
    """What differs between the networks in the paper's figure 2."""

    steps: int
    learning_rate: float
    conv_rate: float


PAPER = {
    "conv_2": Paper(20_000, 2e-4, 0.1),
    "conv_4": Paper(25_000, 3e-4, 0.1),
    "conv_6": Paper(30_000, 3e-4, 0.15),
}


@dataclass(frozen=True)
class Config(Options):
    """Winning tickets in Conv-2, Conv-4 or Conv-6 on CIFAR-10, section 3 of "The Lottery Ticket Hypothesis" (2019).

    45,000 / 5,000 / 10,000 images, Glorot normal weights, Adam, batches of 60; every level prunes 20% of the weights
    that are left in each dense layer by magnitude, 10% or 15% in each convolution and 10% in the output layer, and
    rewinds the rest to their initial values. Defaults are the paper's; they take days on two cores.
    """

    network: Literal["conv_2", "conv_4", "conv_6"] = "conv_6"
    """Which network."""
    trials: int = 5
    """Number of trials: whole searches, each with its own seed. More extend the run."""
    levels: int = 20
    """Number of prunings; level 0 is the dense network, so one training more. More extend the run."""
    steps: Length = None
    """Optimiser updates per training. Default: the paper's, 20,000, 25,000 and 30,000 for the three networks."""
    learning_rate: float | None = None
    """Adam's learning rate. Default: the paper's, 2e-4 for Conv-2 and 3e-4 for the others."""
    dense_rate: float = 0.2
    """Share of the remaining weights of a hidden dense layer that a level prunes."""
    conv_rate: float | None = None
    """The same for a convolution. Default: the paper's, 0.15 for Conv-6 and 0.1 for the others."""
    output_rate: float = 0.1
    """The same for the output layer."""

    def __post_init__(self) -> None:
        """Takes from the paper what is not given."""
        super().__post_init__()
        paper = PAPER[self.network]
        if self.steps is None and self.epochs is None:
            object.__setattr__(self, "steps", paper.steps)
        for name in ("learning_rate", "conv_rate"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, getattr(paper, name))


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import cifar10
    from lth_keras import models
    from lth_keras.search import TicketSearch

    assert config.conv_rate is not None
    return TicketSearch(
        build=getattr(models, config.network),
        data=lambda seed: cifar10.load(seed=seed),
        optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        rates={"dense": config.dense_rate, "conv": config.conv_rate, "output": config.output_rate},
        criterion=config.criterion,
        levels=config.levels,
        steps=config.steps,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate_every=config.evaluate_every,
        test_every=config.test_every,
        seed=config.seed,
        name="cifar10_conv",
        config=config.identity(),
        threads=threads,
    )


if __name__ == "__main__":
    main(Config, make_search, "cifar10_conv")
