"""Rewinding ResNet-20 on CIFAR-10, cut to two hours of two cores.

Design, fixed before the first run: ResNet-20 (16 filters in the first stage) on images halved to 16x16 by the mean of
2x2 pixels; the first 10,000 training and 2,500 validation images of each trial's split, all 10,000 test images, no
augmentation. SGD with momentum 0.9 in batches of 64 for T = 1,000 steps, learning rate 0.05 divided by 10 after T / 2
and 3 T / 4. Two levels each prune 67.3% of all remaining weights of kernels by magnitude, over all layers: to 32.7% and
10.7%, the latter a density of the paper. Five trials. The four branches of `digits_resnet_rewinding`, with K = 50.

Read at both levels: the mean final test accuracy of each branch, and paired 95% intervals of its differences to
`late`. The published order at 10.7% (Renda et al., 2020, ten levels, 32x32 images, 182 epochs) is late, learning_rate,
fine_tune, winning_ticket.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.command import main
from experiments.flags import Length
from experiments.residual import Rewound

if TYPE_CHECKING:
    import numpy as np

    from datasets.splits import Split, Splits
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Config(Rewound):
    """Rewinding to step 0, to step K, of the learning rate alone, and fine-tuning, in ResNet-20 on small CIFAR-10."""

    blocks: ClassVar[int] = 3
    shape: ClassVar[tuple[int, ...]] = (16, 16, 3)
    examples: ClassVar[tuple[int, int, int]] = (10_000, 2_500, 10_000)

    levels: int = 2
    steps: Length = 1_000
    evaluate_every: int = 250
    test_every: int = 500
    batch_size: int = 64
    learning_rate: float = 0.05
    rate: float = 0.673


def halved(x: np.ndarray) -> np.ndarray:
    """Images (n, 2h, 2w, c) as (n, h, w, c): the mean of 2x2 pixels."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def load(seed: int) -> Splits:
    """CIFAR-10 with fewer and smaller images; seed and errors as `datasets.cifar10.load`."""
    from datasets import cifar10

    splits = cifar10.load(seed=seed)

    def first(split: Split, count: int) -> Split:
        return split._replace(x=halved(split.x[:count]), y=split.y[:count])

    train, validation, test = Config.examples
    return dataclasses.replace(
        splits,
        train=first(splits.train, train),
        validation=first(splits.validation, validation),
        test=first(splits.test, test),
        x_meaning=splits.x_meaning.replace("(n, 32, 32, 3)", "(n, 16, 16, 3)") + "; the mean of 2x2 pixels",
    )


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    return config.search(threads, "cifar10_resnet_rewinding", load)


if __name__ == "__main__":
    main(Config, make_search, "cifar10_resnet_rewinding")
