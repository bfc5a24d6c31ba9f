"""Which engine `auto` is."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from lth_keras.backends import backend
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
    """The engine that trains a network's tickets, and why.

    Args:
        spelling: as `registry.check_spelling` returns it.
        network: the network.

    Raises:
        ValueError: where the engine that is asked for cannot train it.
    """
    if spelling == AUTO:
        return _for_model(network)
    engine = engine_named(spelling)
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
    """The engine of a search whose tickets are trained in one process, as far as it is known without a network.

    Args:
        asked: as `registry.check_spelling` returns it.
        recorded: what the run's levels were trained by; None without any.
        tickets: how many are ready at a time.
        device: says the kind of device; asked only where it decides, as that may take memory on it.
        network: makes the network, where a GPU is there.

    Returns:
        A spelling, `auto` where the model decides; and why.
    """
    if asked != AUTO:
        return asked, "asked for"
    if recorded is not None:
        return recorded, "the run was made with it"
    if tickets > 1 and backend().most_tickets != 1 and device() != "cpu":
        width = best_width(network(), tickets)
        if width > 1:
            return Batched(width).spelling, f"{tickets} tickets are ready at a time, and a GPU is there"
    return AUTO, "the model decides"
