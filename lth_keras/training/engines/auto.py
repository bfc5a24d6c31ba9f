"""Chooses the engine of `auto`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from lth_keras.backends import backend, is_single
from lth_keras.masking import large_tables
from lth_keras.training.engines.batched import Batched, best_width
from lth_keras.training.engines.compiled import Compiled
from lth_keras.training.engines.engine import Engine
from lth_keras.training.engines.registry import AUTO, engine_named
from lth_keras.training.engines.rows import Rows, why_densely

if TYPE_CHECKING:
    from collections.abc import Callable

    from lth_keras.training.network import Network


def engine_for(spelling: str, network: Network) -> tuple[Engine, str]:
    """The engine that trains a network's tickets, and the reason for it.

    Args:
        spelling: result of `registry.check_spelling`.
        network: the network.

    Raises:
        ValueError: if the requested engine cannot train it.
    """
    if spelling == AUTO:
        return _for_model(network)
    engine = engine_named(spelling)
    if not (engine.takes_several or is_single(network.model)):
        raise ValueError(
            f"Expected engine='compiled' for a model with {len(network.model.inputs)} inputs and "
            f"{len(network.model.outputs)} outputs. Received: engine={spelling!r}."
        )
    if (refusal := engine.refusal(network, None)) is not None:
        raise ValueError(refusal)
    return engine, "asked for"


def _for_model(network: Network) -> tuple[Engine, str]:
    if not large_tables(network.model):
        return Compiled(), "the default"
    dense = why_densely(network)
    if dense is None:
        return Rows(), "the model has large embedding tables"
    warnings.warn(dense, stacklevel=4)
    return Compiled(), dense


def spelling_for(
    asked: str, recorded: str | None, tickets: int, device: Callable[[], str], network: Callable[[], Network]
) -> tuple[str, str]:
    """The engine of a search in one process, if it can be chosen without building the network.

    Args:
        asked: result of `registry.check_spelling`.
        recorded: the engine that trained the run's levels; None if there are none.
        tickets: number of tickets that are ready at a time.
        device: returns the kind of device; called only if needed, since it may allocate memory on the device.
        network: makes the network; called only with a GPU.

    Returns:
        A spelling, `auto` if the choice depends on the model; and the reason.
    """
    if asked != AUTO:
        return asked, "asked for"
    if recorded is not None:
        return recorded, "the run was made with it"
    if tickets > 1 and backend().most_tickets != 1 and device() != "cpu":
        width = best_width(network(), tickets)
        if width > 1:
            return Batched(width).spelling, f"{tickets} tickets are ready at a time, and there is a GPU"
    return AUTO, "it depends on the model"
