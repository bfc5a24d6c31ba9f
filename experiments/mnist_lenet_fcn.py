"""LeNet-300-100 on MNIST: the central figure of the lottery ticket paper (Frankle & Carbin, 2019, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.command import main
from experiments.flags import Length
from experiments.lenet import LeNet

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Config(LeNet):
    """Winning tickets in LeNet-300-100 on MNIST, as in section 2 of "The Lottery Ticket Hypothesis" (2019).

    55,000 / 5,000 / 10,000 images with pixels in [0, 1], Glorot normal weights, Adam, batches of 60. Every level prunes
    20% of the remaining weights of each layer by magnitude, 10% of the output layer, and rewinds the others to their
    initial values. Defaults are the paper's; 5 trials take hours on two cores.
    """

    trials: int = 5
    levels: int = 25
    steps: Length = 50_000


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    from datasets import mnist

    return config.search("mnist_lenet_fcn", mnist.load, threads)


if __name__ == "__main__":
    main(Config, make_search, "mnist_lenet_fcn")
