"""Shared by the experiments with LeNet-300-100 (Frankle & Carbin, 2019, section 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.described import layers_of
from experiments.options import Options

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize
    from lth_keras.search import TicketSearch


@dataclass(frozen=True)
class LeNet(Options):
    """The options of an experiment with LeNet-300-100. Its `Config` sets defaults and adds parameters."""

    examples: ClassVar[tuple[int, int, int]] = (55_000, 5_000, 10_000)
    """Numbers of training, validation and test examples."""
    inputs: ClassVar[int] = 784
    """Pixels per image."""

    learning_rate: float = 1.2e-3
    """Adam's learning rate."""
    dense_rate: float = 0.2
    """Share of the remaining weights of a hidden layer that a level prunes."""
    output_rate: float = 0.1
    """The same for the output layer."""

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer."""
        return {"dense": self.dense_rate, "output": self.output_rate}

    def model(self) -> keras.Model:
        """The network, with newly drawn weights."""
        from lth_keras.models import lenet_300_100

        return lenet_300_100(input_shape=(self.inputs,))

    def search(self, name: str, load: Callable[..., Any], threads: int, **others: Any) -> TicketSearch:
        """The search with these parameters.

        Args:
            name: of the experiment.
            load: seed -> the data of that trial.
            threads: per training.
            others: further arguments of `TicketSearch`.
        """
        import keras

        return self.ticket_search(
            threads,
            build=self.model,
            data=lambda seed: load(seed=seed),
            optimizer=lambda: keras.optimizers.Adam(self.learning_rate),
            loss="sparse_categorical_crossentropy",
            rates=self.rates,
            name=name,
            **others,
        )

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        return {**super().training(), "optimiser": f"Adam, learning rate {self.learning_rate:g}"}
