"""Shared by the experiments that rewind residual networks in four ways (Renda et al., 2020, arXiv:2003.02389)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.described import layers_of
from experiments.flags import BranchName, Length, Scope
from experiments.options import Options

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Rewound(Options):
    """The options of an experiment with one of these networks. Its `Config` names the network and sets defaults."""

    blocks: ClassVar[int]
    """Residual blocks of each stage."""
    shape: ClassVar[tuple[int, ...]]
    """Of an example."""
    scope: ClassVar[Scope] = "global"

    trials: int = 5
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

        return resnet(self.blocks, input_shape=self.shape)

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        optimiser = f"SGD, momentum 0.9, learning rate {self.learning_rate:g}, a tenth after half and three quarters"
        return {**super().training(), "optimiser": optimiser}

    def search(self, threads: int, name: str, data: Callable[[int], Any]) -> TicketSearch:
        """The search with these parameters on `data`, a function of the trial's seed."""
        import keras

        assert self.examples is not None
        steps = self.steps or (self.epochs or 0) * (self.examples[0] // self.batch_size)
        rates = [self.learning_rate / 10**n for n in range(3)]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([steps // 2, 3 * steps // 4], rates)
        return self.ticket_search(
            threads,
            build=self.model,
            data=data,
            optimizer=lambda: keras.optimizers.SGD(schedule, momentum=0.9),
            loss="sparse_categorical_crossentropy",
            rates=self.rate,
            variants=self.variants,
            name=name,
        )
