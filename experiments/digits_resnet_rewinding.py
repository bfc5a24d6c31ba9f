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
from experiments.described import layers_of
from experiments.flags import BranchName, Length
from experiments.options import Options

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Config(Options):
    """Rewinding to step 0, to step K, of the learning rate alone, and fine-tuning, in ResNet-8 on digits."""

    examples: ClassVar[tuple[int, int, int]] = (1_197, 300, 300)

    trials: int = 5
    levels: int = 14
    steps: Length = 1_000
    evaluate_every: int = 50
    test_every: int = 250
    branches: tuple[BranchName, ...] = ("winning_ticket",)
    """Branches to train beside `late`, `learning_rate` and `fine_tune`. winning_ticket is rewound to step 0."""
    learning_rate: float = 0.1
    """SGD's first learning rate."""
    rate: float = 0.2
    """Share of the remaining weights of all layers that a level prunes."""
    point: int = 50
    """The step K to which tickets are rewound."""

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, the same for each kind of layer."""
        return dict.fromkeys(("conv", "output"), self.rate)

    @property
    def variants(self) -> dict[str, dict[str, str]]:
        """The branches that are rewound otherwise."""
        forms = {"late": "", "learning_rate": "learning_rate:", "fine_tune": "fine_tune:"}
        return {name: {"rewind": f"{form}step:{self.point}"} for name, form in forms.items()}

    def asked_branches(self) -> tuple[str, ...]:
        """The branches, those of other forms of rewinding included."""
        return (*self.branches, *self.variants)

    def model(self) -> keras.Model:
        """The network, with newly drawn weights."""
        from lth_keras.models import resnet

        return resnet(blocks=1, input_shape=(64,))

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        return {**super().training(), "optimiser": f"SGD, momentum 0.9, learning rate {self.learning_rate:g}, in steps"}


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import digits

    steps = config.steps or (config.epochs or 0) * (config.examples[0] // config.batch_size)
    rates = [config.learning_rate / 10**n for n in range(3)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([steps // 2, 3 * steps // 4], rates)
    return config.ticket_search(
        threads,
        build=config.model,
        data=lambda seed: digits.load(seed=seed),
        optimizer=lambda: keras.optimizers.SGD(schedule, momentum=0.9),
        loss="sparse_categorical_crossentropy",
        rates=config.rate,
        scope="global",
        variants=config.variants,
        name="digits_resnet_rewinding",
    )


if __name__ == "__main__":
    main(Config, make_search, "digits_resnet_rewinding")
