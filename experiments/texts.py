"""Shared by the experiments on documents: lengths, splits, rates, and the search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from experiments.described import weight_notes, weights_by_kind
from experiments.flags import Length
from experiments.options import Options

if TYPE_CHECKING:
    import keras

    from lth_keras.search import TicketSearch

Cadence = Annotated[int | None, tyro.conf.arg(metavar="INT")]


@dataclass(frozen=True)
class Texts(Options):
    """The options of an experiment on documents. Its `Config` adds defaults, sizes and the model."""

    loss: ClassVar[str] = "sparse_categorical_crossentropy"
    documents: ClassVar[Any]
    """Number of training documents, validation documents included."""
    held_out: ClassVar[Any]
    """Number of validation documents."""

    steps: Length = None
    evaluate_every: Cadence = None  # type: ignore[assignment]  # wider than in other experiments
    """Steps between evaluations on the validation split. They determine the early-stop step. Default: an epoch."""
    test_every: Cadence = None  # type: ignore[assignment]
    """Steps between evaluations on the test split. They influence nothing. Default: --evaluate-every, so that no copy
    of the best weights is needed."""
    tokens: int = 200
    """Known words to keep from the start of each document."""
    dimension: int = 300
    """Columns of an embedding."""
    validation: float = 0
    """Validation documents, or their share of the training documents. 0 trains on all of them; the last step is then
    reported as the early-stop step."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    embedding_rate: float = 0.2
    """Share of the remaining weights of an embedding that a level prunes."""
    conv_rate: float = 0.15
    """The same for a convolution."""
    output_rate: float = 0.1
    """The same for the output layer."""

    @property
    def steps_per_epoch(self) -> int:
        """Number of full batches in the training documents.

        Raises:
            ValueError: if there is none.
        """
        if self.validation < 0 or not 1 <= self.batch_size <= self.documents - self.held_out:
            raise ValueError(
                f"Expected --validation of 0 or more, and at least one batch in the rest of the {self.documents:,} "
                f"documents. Received: --validation {self.validation} --batch-size {self.batch_size}."
            )
        return (self.documents - self.held_out) // self.batch_size

    @property
    def rates(self) -> dict[str, float]:
        """Share pruned per level, by kind of layer."""
        return {"embedding": self.embedding_rate, "conv": self.conv_rate, "output": self.output_rate}

    def identity(self) -> dict[str, Any]:
        """The parameters, and the weights by kind."""
        return {**super().identity(), "weights": weights_by_kind(self.sizes())}

    def training(self) -> dict[str, str]:
        """The training's parameters for --describe."""
        held_out = f"{self.held_out:,}" if self.held_out else "none (the last step is reported as early stop)"
        return {
            **super().training(),
            "steps per epoch": f"{self.steps_per_epoch:,}",
            "training documents": f"{self.documents - self.held_out:,}",
            "validation documents": held_out,
            "optimiser": f"Adam, learning rate {self.learning_rate:g}",
        }

    def notes(self) -> Iterable[str]:
        """Weights by kind, and the meaning of early stop without a validation split."""
        yield from weight_notes(self.sizes())
        if not self.held_out:
            yield f"no validation split: trains on all {self.documents:,} documents; the last step is the early stop"

    def search(
        self, name: str, build: Callable[[], keras.Model], load: Callable[[int], Any], threads: int
    ) -> TicketSearch:
        """The search with these parameters; `load` gives the data of the trial with a seed."""
        import keras

        evaluate_every = self.steps_per_epoch if self.evaluate_every is None else self.evaluate_every
        test_every = evaluate_every if self.test_every is None else self.test_every
        cadences = {"evaluate_every": evaluate_every, "test_every": test_every}
        return self.ticket_search(
            threads,
            build=build,
            data=load,
            optimizer=lambda: keras.optimizers.Adam(self.learning_rate),
            loss=self.loss,
            rates=self.rates,
            name=name,
            **cadences,
        )
