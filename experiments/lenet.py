"""What the experiments with LeNet-300-100 have in common (Frankle & Carbin, 2019, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from experiments.command import Options
from experiments.described import layers_of

if TYPE_CHECKING:
    import keras

    from lth_keras.models import LayerSize


@dataclass(frozen=True)
class LeNet(Options):
    """The options of an experiment with LeNet-300-100; its own `Config` gives defaults and says more."""

    examples: ClassVar[tuple[int, int, int]] = (55_000, 5_000, 10_000)
    """To train on, for validation, to test on."""
    inputs: ClassVar[int] = 784
    """Pixels of an image."""

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
        """The network, with weights drawn anew."""
        from lth_keras.models import lenet_300_100

        return lenet_300_100(input_shape=(self.inputs,))

    def sizes(self) -> list[LayerSize]:
        """The layers of the model."""
        return layers_of(self.model())

    def training(self) -> dict[str, str]:
        """How it is trained, for people."""
        return {**super().training(), "optimiser": f"Adam, learning rate {self.learning_rate:g}"}
