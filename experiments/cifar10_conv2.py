"""Conv-2 on CIFAR-10, a convolutional network of the lottery ticket paper (Frankle & Carbin, 2019, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from experiments.cifar10_convolutional import Convolutional, make_search
from experiments.command import main
from experiments.flags import Length


@dataclass(frozen=True)
class Config(Convolutional):
    """Winning tickets in Conv-2 on CIFAR-10, as in section 3 of "The Lottery Ticket Hypothesis" (2019).

    45,000 / 5,000 / 10,000 images, Glorot normal weights, Adam, batches of 60. Every level prunes 20% of the remaining
    weights of each dense layer by magnitude, 10% of each convolution and of the output layer, and rewinds the others to
    their initial values. Defaults are the paper's; they take days on two cores.
    """

    network: ClassVar[str] = "conv_2"

    steps: Length = 20_000
    learning_rate: float = 2e-4


if __name__ == "__main__":
    main(Config, make_search, Config.experiment())
