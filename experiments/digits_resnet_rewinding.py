"""Rewinding a residual network with batch normalisation on the 8x8 digits of scikit-learn.

Design, fixed before the first run: ResNet-8 (one block a stage, 16 filters in the first), 1,197 / 300 / 300 examples,
SGD with momentum 0.9 in batches of 60 for T = 1,000 steps, learning rate 0.1 divided by 10 after T / 2 and 3 T / 4.
Each level prunes 20% of all remaining weights of kernels by magnitude, over all layers, 14 times: to 26.2% at level 6,
10.7% at level 10 and 4.4% at level 14. Five trials. Four branches, which start from: the initial weights
(`winning_ticket`), the state after K = 50 steps (`late`), the last weights with the schedule from K on
(`learning_rate`), the last weights at the last learning rate for T - K steps (`fine_tune`).

Read at levels 6, 10 and 14: the mean final test accuracy of each branch, and paired 95% intervals of its differences
to `late`. The published order on ResNet-20 (Renda et al., 2020) is late, learning_rate, fine_tune, winning_ticket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.command import main
from experiments.residual import Rewound

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Config(Rewound):
    """Rewinding to step 0, to step K, of the learning rate alone, and fine-tuning, in ResNet-8 on digits."""

    blocks: ClassVar[int] = 1
    shape: ClassVar[tuple[int, ...]] = (64,)
    examples: ClassVar[tuple[int, int, int]] = (1_197, 300, 300)

    levels: int = 14


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    from datasets import digits

    return config.search(threads, "digits_resnet_rewinding", lambda seed: digits.load(seed=seed))


if __name__ == "__main__":
    main(Config, make_search, "digits_resnet_rewinding")
