"""Shared by the experiments Conv-2, Conv-4 and Conv-6 on CIFAR-10 (Frankle & Carbin, 2019, section 3 and figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.described import layers_of
from experiments.options import Options

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class Convolutional(Options):
    """The options of an experiment with one of these networks. Its `Config` names the network and sets defaults."""

    network: ClassVar[str]
    """The function of `lth_keras.models` that builds it."""
    examples: ClassVar[tuple[int, int, int]] = (45_000, 5_000, 10_000)

    trials: int = 5
    levels: int = 25
    learning_rate: float = 3e-4
    """Adam's learning rate."""
    dense_rate: float = 0.2
    """Share of the remaining weights of a hidden dense layer that a level prunes."""
    conv_rate: float = 0.1
    """The same for a convolution."""
    output_rate: float = 0.1
    """The same for the output layer."""

    @classmethod
    def experiment(cls) -> str:
        """The experiment's name: `cifar10_conv6`."""
        return f"cifar10_{cls.network.replace('_', '')}"

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer."""
        return {"dense": self.dense_rate, "conv": self.conv_rate, "output": self.output_rate}

    def model(self) -> keras.Model:
        """The network, with newly drawn weights."""
        from lth_keras import models

        model: keras.Model = getattr(models, self.network)()
        return model

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        return {**super().training(), "optimiser": f"Adam, learning rate {self.learning_rate:g}"}

    def identity(self) -> dict[str, Any]:
        """The parameters, and the network."""
        return {**super().identity(), "network": self.network}


def make_search(config: Convolutional, threads: int) -> TicketSearch:
    """The search with these parameters."""
    import keras

    from datasets import cifar10

    return config.ticket_search(
        threads,
        build=config.model,
        data=lambda seed: cifar10.load(seed=seed),
        optimizer=lambda: keras.optimizers.Adam(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        rates=config.rates,
        name=config.experiment(),
    )
