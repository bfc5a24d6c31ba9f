"""How many tickets to train together as one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lth_keras.backends import device, trains_together
from lth_keras.storage import RunDirectory
from lth_keras.training.network import Network

SHARE_OF_DEVICE = 0.5
"""Of the device's free memory, what tickets trained together may take."""
MOST = 64
"""Tickets trained together at most, where nothing else bounds them."""


def check_width(width: Any) -> Any:
    """Returns `width` where it is `auto` or an integer from 1.

    Raises:
        ValueError: otherwise.
    """
    if isinstance(width, str) and width == "auto":
        return width
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
        raise ValueError(f"Expected vectorize to be 'auto' or an integer from 1 (off). Received: {width!r}.")
    return int(width)


def best_width(make_network: Callable[[], Network], tickets: int) -> int:
    """How many tickets to train together, where `tickets` are ready at a time.

    On a CPU one by one: there a step is bound by arithmetic, and processes beside each other use the cores better. On
    a GPU all of them, as far as their variables, gradients and activations take half of its free memory (the data
    come beside them); but networks with convolutions one by one, as it has not been measured that together is faster.

    Args:
        make_network: makes the network, where a GPU is there.
        tickets: how many are ready at a time.
    """
    kind, free = device()
    if kind == "cpu" or tickets < 2:
        return 1
    network = make_network()
    layers = [layer for layer in network.model._flatten_layers() if not hasattr(layer, "layers")]
    if network.tables or any("Conv" in type(layer).__name__ for layer in layers):
        return 1
    if free is None:
        return min(tickets, MOST)
    variables = sum(int(np.prod(variable.shape)) for variable in network.variables.values())
    outputs = [int(np.prod([size or 1 for size in layer.output.shape[1:]])) for layer in layers]
    # Weights, gradients, two slots, best weights, and as much again for a call's results; a byte of mask. A training
    # step keeps the outputs of all layers, an evaluation has two at a time.
    activations = max(2 * network.batch_size * sum(outputs), 2 * network.evaluation_batch_size * max(outputs))
    each = variables * (10 * 4 + 1) + 4 * activations
    return max(1, min(tickets, MOST, int(free * SHARE_OF_DEVICE / each)))


def choose_width(asked: int | str, recorded: RunDirectory | None, tickets: int, best: Callable[[], int]) -> int:
    """How many tickets a run trains together.

    Args:
        asked: as `check_width` takes it.
        recorded: the run's directory, where it is there: what has levels goes on with their width.
        tickets: how many are ready at a time.
        best: finds the best number where nothing else decides.
    """
    if isinstance(asked, int):
        return asked
    if recorded is not None and recorded.finished():
        return recorded.vectorize
    if trains_together() and tickets > 1:
        return best()
    return 1  # not even the device is asked for: a process that only starts workers has no context of one
