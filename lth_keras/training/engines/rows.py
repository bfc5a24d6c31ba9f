"""Large embedding tables: a step reads and updates only the rows that its batch uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lth_keras.backends import Program, assign, backend, skipped
from lth_keras.masking import large_tables, using_rows
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Schedule

if TYPE_CHECKING:
    from lth_keras.training.network import Network

EVALUATION_BATCH = 250
"""Examples per forward pass: those of more examples take gigabytes."""


@dataclass(frozen=True)
class Rows(Compiled):
    """Trains embedding tables of 4 million weights and more, which read the model's input, by the rows in use.

    Steps are compiled by XLA. No copy of the best weights is kept, so the test split is measured at every evaluation.

    Attributes:
        lazy: whether rows stand still while no batch uses them. Otherwise they get the updates that a dense optimiser
            would have made, when they are next read (Adam, AdamW and SGD).
    """

    lazy: bool = False

    @classmethod
    def of(cls, argument: str) -> Rows:
        """The engine of the spellings `rows` and `rows:lazy`.

        Raises:
            ValueError: for another argument.
        """
        if argument not in ("", "lazy"):
            raise ValueError(f"Expected no argument, or 'lazy'. Received: {argument!r}.")
        return cls(argument == "lazy")

    @property
    def spelling(self) -> str:  # type: ignore[override]
        """See `Engine.spelling`."""
        return "rows:lazy" if self.lazy else "rows"

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Engine.identity`."""
        return {"embeddings": "lazy"} if self.lazy else {}

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        tables = large_tables(network.model)
        if not tables:
            return (
                "Expected a model with embedding tables of 4 million weights and more, which read its input. "
                f"Received: none, engine={self.spelling!r}."
            )
        return why_densely(network)

    def _make(self, network: Network) -> Program:
        training = network.training()
        tables = large_tables(network.model)
        rule = skipped(training.optimizer, [table.variable for table in tables])
        assert rule is not None  # else `refusal` says why not
        size = min(training.evaluation_batch_size, EVALUATION_BATCH)
        training = training._replace(evaluation_batch_size=size)
        return backend().rowwise_program(training, tables, using_rows, rule, assign, lazy=self.lazy)


def why_densely(network: Network) -> str | None:
    """Why a model's large tables must be trained densely; None where they can be trained by rows."""
    tables = large_tables(network.model)
    optimizer = network.make_optimizer()
    dense = f"{len(tables)} large embedding tables are trained densely, every row at every step"
    if skipped(optimizer, [table.variable for table in tables]) is None:
        return (
            f"{dense}: what {type(optimizer).__name__} with these arguments does to rows that are not used has no "
            "closed form here."
        )
    unsupported = network.without_xla
    if unsupported and not backend().compiles_always:
        return f"{dense}: steps by rows are compiled with XLA, which Keras does not do with {', '.join(unsupported)}."
    return None
