"""Trains large embedding tables by rows: a step reads and updates only the rows that its batch uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lth_keras.backends import Program, backend, is_single, skipped
from lth_keras.masking import large_tables, using_rows
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Schedule

if TYPE_CHECKING:
    from lth_keras.training.network import Network

EVALUATION_BATCH = 250
"""The most examples per forward pass; more would need gigabytes."""


@dataclass(frozen=True)
class Rows(Compiled):
    """Trains embedding tables with at least 4 million weights that read the model's input, by rows; see `Engine`.

    Steps are compiled by XLA. No copy of the best weights is kept, so every evaluation includes the test split.

    Attributes:
        lazy: whether rows stay unchanged while no batch uses them. Otherwise, when they are next read, they get the
            updates that a dense optimiser would have made (Adam, AdamW and SGD).
    """

    lazy: bool = False

    takes_several = False
    forms = ("rows", "rows:lazy")

    @classmethod
    def of(cls, argument: str) -> Rows:
        """See `Engine.of`; takes no argument or `lazy`."""
        if argument not in ("", "lazy"):
            raise ValueError(f"Expected no argument or 'lazy'. Received: {argument!r}.")
        return cls(argument == "lazy")

    @property
    def spelling(self) -> str:  # type: ignore[override]
        """See `Engine.spelling`."""
        return "rows:lazy" if self.lazy else "rows"

    @property
    def identity(self) -> Mapping[str, Any]:  # type: ignore[override]
        """See `Engine.identity`."""
        return {"embeddings": "lazy"} if self.lazy else {}

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """See `Engine.refusal`."""
        if schedule is not None and (refusal := schedule.refusal_unless_whole(self.spelling)) is not None:
            return refusal
        tables = large_tables(network.model)
        if not tables:
            return (
                "Expected a model with embedding tables of at least 4 million weights that read its input. "
                f"Received: none, engine={self.spelling!r}."
            )
        return why_densely(network)

    def _make(self, network: Network) -> Program:
        training = network.training()
        tables = large_tables(network.model)
        rule = skipped(training.optimizer, [table.variable for table in tables], lazy=self.lazy)
        assert rule is not None  # checked by `refusal`
        size = min(training.evaluation_batch_size, EVALUATION_BATCH)
        training = training._replace(evaluation_batch_size=size)
        return backend().rowwise_program(training, tables, using_rows, rule)


def why_densely(network: Network) -> str | None:
    """The reason why a model's large tables cannot be trained by rows; None if they can."""
    tables = large_tables(network.model)
    optimizer = network.make_optimizer()
    dense = f"{len(tables)} large embedding tables are trained densely, every row at every step"
    if skipped(optimizer, [table.variable for table in tables]) is None:
        return (
            f"{dense}: the updates of unused rows by {type(optimizer).__name__} with these arguments have no closed "
            "form."
        )
    if not is_single(network.model):
        return f"{dense}: steps by rows are not written for several inputs or outputs."
    if not backend().trains_by_rows:
        return f"{dense}: steps by rows are not written for Keras on {network.backend}."
    unsupported = network.without_xla
    if unsupported and not backend().compiles_always:
        return f"{dense}: steps by rows need XLA, with which Keras does not compile {', '.join(unsupported)}."
    return None
