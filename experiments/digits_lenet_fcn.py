"""LeNet-300-100 on the 8x8 digits of scikit-learn: a whole search in a minute, without a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.command import main
from experiments.flags import Length
from experiments.lenet import LeNet

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Config(LeNet):
    """Winning tickets in LeNet-300-100 on the 8x8 digits of scikit-learn: about a minute, without a download.

    The method of experiments.mnist_lenet_fcn on 1,797 small images.
    """

    examples: ClassVar[tuple[int, int, int]] = (1_197, 300, 300)
    inputs: ClassVar[int] = 64

    trials: int = 3
    levels: int = 10
    steps: Length = 1500
    evaluate_every: int = 20
    test_every: int = 100
    dense_rate: float = 0.3
    output_rate: float = 0.15


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    from datasets import digits

    return config.search("digits_lenet_fcn", digits.load, threads)


if __name__ == "__main__":
    main(Config, make_search, "digits_lenet_fcn")
