"""LeNet-300-100 in PyTorch, tuned by hand: what a user outside of Keras would write for speed. Needs the extra `bench`.

Data, order and masks are tensors that stay where they are; pruned weights stay zero, as their gradients are. `VARIANTS`
are the ways that are tried; their losses are those of this library's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.contenders import Contender
from benchmarks.lenet import BATCH_SIZE
from datasets.splits import Splits
from lth_keras.system.machine import usable_cpus
from lth_keras.training.network import batch_order

LEARNING_RATE, BETAS, EPSILON = 1.2e-3, (0.9, 0.999), 1e-7
"""Adam as Keras has it."""

Tensors = list[Any]
Step = Callable[[Any], Any]
"""Trains on the batch whose indices it is given, and returns its loss."""


def train(splits: Splits, steps: int, variant: str, start: Sequence[np.ndarray] | None = None) -> Contender:
    """A contender: `steps` updates on the batches that this library's loop sees, without evaluations.

    Args:
        splits: the data.
        steps: updates of a turn.
        variant: one of `VARIANTS`.
        start: kernels and biases as Keras has them; drawn where it is None. No weight is pruned.
    """
    torch.set_num_threads(usable_cpus())
    x, y = (torch.from_numpy(np.array(part)) for part in splits.train)
    order = torch.from_numpy(batch_order(len(x), BATCH_SIZE, 0).take(steps).astype(np.int64))
    weights = [torch.from_numpy(np.ascontiguousarray(array.T)) for array in start or _drawn()]
    parameters = [weight.clone() for weight in weights]
    step, slots = VARIANTS[variant](parameters, [torch.ones_like(kernel) for kernel in parameters[::2]], x, y.long())

    def restore() -> None:
        with torch.no_grad():
            for parameter, weight in zip(parameters, weights, strict=True):
                parameter.copy_(weight)
            for slot in slots():
                slot.zero_()

    def run() -> float:
        loss = torch.zeros(())
        for batch in order:
            loss += step(batch)
        return float(loss) / len(order)

    return Contender(restore, run)


def _drawn() -> list[np.ndarray]:
    generator, sizes = np.random.default_rng(0), (784, 300, 100, 10)
    arrays: list[np.ndarray] = []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        kernel = generator.normal(0, np.sqrt(2 / (inputs + units)), (inputs, units))
        arrays += [kernel.astype(np.float32), np.zeros(units, np.float32)]
    return arrays


def _autograd(parameters: Tensors, masks: Tensors, x: Any, y: Any, *, compiled: bool) -> tuple[Step, Any]:
    """Autograd and PyTorch's fused Adam; the masks are multiplied into the kernels' gradients in one call."""
    for parameter in parameters:
        parameter.requires_grad_(True)
    adam = torch.optim.Adam(parameters, LEARNING_RATE, BETAS, EPSILON, fused=True)
    kernels = parameters[::2]

    def loss_of(x: Any, y: Any) -> Any:
        hidden = functional.relu(functional.linear(x, parameters[0], parameters[1]))
        hidden = functional.relu(functional.linear(hidden, parameters[2], parameters[3]))
        return functional.cross_entropy(functional.linear(hidden, parameters[4], parameters[5]), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step(batch: Any) -> Any:
        adam.zero_grad(set_to_none=True)
        loss = forward(x[batch], y[batch])
        loss.backward()
        torch._foreach_mul_([kernel.grad for kernel in kernels], masks)
        adam.step()
        return loss.detach()

    return step, lambda: [slot for state in adam.state.values() for slot in state.values()]


def _written_out(parameters: Tensors, masks: Tensors, x: Any, y: Any) -> tuple[Step, Any]:
    """Gradients and Adam written out, the whole step compiled by Inductor, which tries ways for every product."""
    moments = [torch.zeros_like(parameter) for parameter in parameters]
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    done = torch.zeros(())

    def update(batch: Any) -> Any:
        inputs, labels = x[batch], y[batch]
        kernels, biases = parameters[::2], parameters[1::2]
        first = functional.relu(functional.linear(inputs, kernels[0], biases[0]))
        second = functional.relu(functional.linear(first, kernels[1], biases[1]))
        logarithms = functional.log_softmax(functional.linear(second, kernels[2], biases[2]), 1)
        chosen = functional.one_hot(labels, logarithms.shape[1])
        last = (logarithms.exp() - chosen) / len(batch)
        middle = (last @ kernels[2]) * (second > 0)
        lowest = (middle @ kernels[1]) * (first > 0)
        gradients = []
        for delta, seen, mask in zip((lowest, middle, last), (inputs, first, second), masks, strict=True):
            gradients += [delta.t() @ seen * mask, delta.sum(0)]
        done.add_(1)
        rate = LEARNING_RATE * torch.sqrt(1 - BETAS[1] ** done) / (1 - BETAS[0] ** done)
        for parameter, moment, square, gradient in zip(parameters, moments, squares, gradients, strict=True):
            moment.add_((gradient - moment) * (1 - BETAS[0]))
            square.add_((gradient * gradient - square) * (1 - BETAS[1]))
            parameter.sub_(rate * moment / (square.sqrt() + EPSILON))
        return -(logarithms * chosen).sum() / len(batch)

    compiled = torch.compile(update, mode="max-autotune-no-cudagraphs")

    def step(batch: Any) -> Any:
        with torch.no_grad():
            return compiled(batch)

    return step, lambda: [*moments, *squares, done]


VARIANTS: dict[str, Callable[..., tuple[Step, Any]]] = {
    "eager": partial(_autograd, compiled=False),
    "compiled loss": partial(_autograd, compiled=True),
    "compiled step": _written_out,
}
"""The ways to make a step: (parameters, masks, x, y) -> the step, and a function that gives the optimiser's slots."""
