"""Early tickets in LeNet-300-100 on MNIST: masks of weights after a few epochs (Unverzagt, 2020, section 7.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.command import main
from experiments.flags import Length
from experiments.lenet import LeNet

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch
    from lth_keras.storage import Facts

EXAMPLES = 55_000
"""Number of training examples."""


@dataclass(frozen=True)
class Config(LeNet):
    """How early can a mask be computed? Tickets whose masks come from the weights after epoch n of each training.

    Every ticket is trained in full from the same initial weights, so tickets of all n can be compared. One training
    gives both a ticket's accuracy and its next mask. The masks of the branch `epoch_03` come from the weights after
    three epochs, of `epoch_00` from the weights before training, of `winning_ticket` from the weights at its end.
    """

    trials: int = 3
    levels: int = 15
    steps: Length = 20_000
    mask_epochs: tuple[int, ...] = tuple(range(16))
    """Epochs after which a mask is computed. Each is a branch. More epochs extend the run."""
    branches: tuple[str, ...] = ("winning_ticket",)  # type: ignore[assignment]
    """Branches to train beside those of --mask-epochs."""

    @property
    def variants(self) -> dict[str, dict[str, int]]:
        """The branch of each epoch, and the step whose weights it scores.

        Raises:
            ValueError: for epochs below 0 or beyond the end of a training.
        """
        per_epoch = EXAMPLES // self.batch_size
        last = self.epochs if self.steps is None else self.steps // per_epoch
        if any(not 0 <= epoch <= (last or 0) for epoch in self.mask_epochs):
            raise ValueError(
                f"Expected --mask-epochs in 0 ... {last}, the whole epochs of a training. "
                f"Received: {list(self.mask_epochs)}."
            )
        return {f"epoch_{epoch:02d}": {"score_at": epoch * per_epoch} for epoch in self.mask_epochs}

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        epochs = ", ".join(map(str, self.mask_epochs))
        return {**super().training(), "masks of the weights after epochs": f"{epochs}; and of the end"}

    def asked_branches(self) -> tuple[str, ...]:
        """The branches, those of all epochs included."""
        return (*self.branches, *self.variants)

    def identity(self) -> dict[str, Any]:
        """The parameters without the epochs: more epochs extend a run."""
        return {name: value for name, value in super().identity().items() if name != "mask_epochs"}

    def facts(self) -> Facts:
        """The number of steps per epoch."""
        from lth_keras.storage import Facts

        return Facts(steps_per_epoch=EXAMPLES // self.batch_size)


def make_search(config: Config, threads: int) -> TicketSearch:
    """The search with these parameters."""
    from datasets import mnist

    return config.search("mnist_early_tickets", mnist.load, threads, variants=config.variants)


if __name__ == "__main__":
    main(Config, make_search, "mnist_early_tickets")
