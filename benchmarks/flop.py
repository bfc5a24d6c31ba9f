"""How many floating-point operations and bytes a training step needs: `python -m benchmarks.flop` prints them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from benchmarks import report
from lth_keras.models import conv_2, conv_4, conv_6, lenet_300_100, newsgroups_end2end

ROWS_IN_USE = 2400
"""Rows of a table that a batch of 60 documents of 20 Newsgroups uses, about."""
FLOAT, MASK = 4, 1
"""Bytes of a float32, and of a mask's boolean."""


def dense_sizes(model: keras.Model) -> list[tuple[int, int]]:
    """(inputs, units) of every dense layer, in order."""
    return [tuple(layer.kernel.shape) for layer in model.layers if hasattr(layer, "kernel")]


def forward_flop(sizes: Sequence[tuple[int, int]], examples: int) -> int:
    """Floating-point operations of the matrix products of a forward pass; a multiply-add is two."""
    return 2 * examples * sum(inputs * units for inputs, units in sizes)


def training_flop(sizes: Sequence[tuple[int, int]], batch_size: int) -> int:
    """The same of a training step: outputs, kernel gradients, and input gradients of all layers but the first."""
    return 2 * forward_flop(sizes, batch_size) + forward_flop(sizes[1:], batch_size)


def evaluated_examples(steps: int, examples: Mapping[int, int]) -> int:
    """Examples that a training of so many steps evaluates, the last step included.

    Args:
        steps: of the training.
        examples: steps between evaluations, to the examples that each looks at.
    """
    return sum(count * math.ceil(steps / every) for every, count in examples.items())


class StepCost(NamedTuple):
    """What a training step with Adam needs at least, where nothing stays in a cache from one use to the next.

    Attributes:
        forward_flop: of the products of the forward pass; a multiply-add is two.
        flop: of the step: forward, kernel gradients, and input gradients where a layer below has weights.
        weights: bytes of weights, read by the forward pass, by the input gradients and by Adam, which writes them.
        gradients: bytes, written and read once.
        slots: bytes of Adam's two, read and written.
        masks: bytes, read with the weights and with the gradients.
        activations: bytes of inputs and outputs of layers: an output is written, read by the next layer and by the
            backward pass, and its gradient written and read.
    """

    forward_flop: int
    flop: int
    weights: int
    gradients: int
    slots: int
    masks: int
    activations: int

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.slots + self.masks + self.activations

    def seconds(self, flop_per_second: float, bytes_per_second: float) -> float:
        """The least time of a step on a machine with these limits: what takes longer, products or bytes."""
        return max(self.flop / flop_per_second, self.bytes / bytes_per_second)


def step_cost(model: keras.Model, batch_size: int, rows: int | None = None) -> StepCost:
    """What a step of a model of Dense, Conv and Embedding layers needs; other layers count for their outputs alone.

    A convolution counts its whole window at every place, padding too.

    Args:
        model: Sequential or Functional, built, every layer used once.
        batch_size: examples of a step.
        rows: of each embedding that a batch uses and the step touches; None for all of its rows.
    """
    trained: dict[int, bool] = {id(tensor): False for tensor in model.inputs}
    forward = backward = weights = gradients = masks = 0
    # A batch's examples are gathered: read and written. Then the first layer reads them, and its kernel gradient.
    elements = [4 * math.prod(tensor.shape[1:]) for tensor in model.inputs]
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        below = any(trained[id(tensor)] for tensor in _list(layer.input))
        places = math.prod(layer.output.shape[1:])
        elements.append(5 * places)
        trained[id(layer.output)] = below or bool(layer.trainable_variables)
        prunable = 0
        if isinstance(layer, keras.layers.Embedding):
            count, width = layer.embeddings.shape
            used = prunable = (count if rows is None else min(rows, count)) * width
        else:
            used = sum(int(np.prod(variable.shape)) for variable in layer.trainable_variables)
        if hasattr(layer, "kernel"):
            prunable = int(np.prod(layer.kernel.shape))
            products = 2 * batch_size * places * math.prod(layer.kernel.shape[:-1])
            forward += products
            backward += products * (2 if below else 1)
        weights += (4 if below else 3) * used
        gradients += 2 * used
        masks += 2 * prunable
    return StepCost(
        forward,
        forward + backward,
        FLOAT * weights,
        FLOAT * gradients,
        FLOAT * 2 * gradients,
        MASK * masks,
        FLOAT * batch_size * sum(elements),
    )


def _list(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def networks() -> dict[str, tuple[Callable[[], keras.Model], int | None]]:
    """The networks of the papers: how each is built, and the rows of its embeddings that a batch uses."""
    return {
        "LeNet-300-100": (lenet_300_100, None),
        "Conv-2": (conv_2, None),
        "Conv-4": (conv_4, None),
        "Conv-6": (conv_6, None),
        "Newsgroups-End2End, rows in use": (newsgroups_end2end, ROWS_IN_USE),
        "Newsgroups-End2End, every row": (newsgroups_end2end, None),
    }


def markdown(costs: Mapping[str, StepCost]) -> str:
    """A table of costs. M is 10^6."""
    columns = ["network", "MFLOP", *(f"{name}, MB" for name in StepCost._fields[2:]), "in all, MB", "FLOP per byte"]
    rows = []
    for name, cost in costs.items():
        parts = [f"{part / 1e6:,.1f}" for part in (*cost[2:], cost.bytes)]
        rows.append([name, f"{cost.flop / 1e6:,.1f}", *parts, f"{cost.flop / cost.bytes:.1f}"])
    return report.table(columns, rows)


def main() -> None:
    """Prints the table for batches of 60; builds the largest network, 1.2 GB."""
    print(markdown({name: step_cost(build(), 60, rows) for name, (build, rows) in networks().items()}))


if __name__ == "__main__":
    main()
