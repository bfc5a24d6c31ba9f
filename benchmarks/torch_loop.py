"""LeNet-300-100 in PyTorch, as a user without Keras would write it. Needs the extra `bench`.

Data, order and masks are tensors on the device. Pruned weights stay zero, since their gradients are masked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.subjects import BATCH_SIZE, subject
from lth_keras.system import usable_cpus
from lth_keras.training.engines import batch_order

LEARNING_RATE, BETAS, EPSILON = 1.2e-3, (0.9, 0.999), 1e-7
"""Adam as in Keras."""
WARMING = 20
"""Warm-up steps, which compile and are not measured."""

Tensors = list[Any]
Step = Callable[[Any], Any]
"""Trains on the batch with these indices and returns its loss."""


def torch_speed(small: bool, steps: int, variant: str) -> dict[str, float]:
    """Steps per second of one of `VARIANTS`, without evaluations."""
    x, y = subject("lenet", small).data()["train"]
    return {"steps/s": steps / train(x, y, steps, variant, WARMING)[1]}


def train(
    x: np.ndarray,
    y: np.ndarray,
    steps: int,
    variant: str,
    warming: int = 0,
    start: Sequence[np.ndarray] | None = None,
) -> tuple[float, float]:
    """Trains on the same batches as this library's loop.

    Args:
        x: examples, shape (n, 784).
        y: labels, shape (n,).
        steps: measured updates.
        variant: one of `VARIANTS`.
        warming: warm-up updates.
        start: kernels and biases as in Keras; None to draw them. No weight is pruned.

    Returns:
        Mean loss and seconds of the measured steps.
    """
    import torch  # not at the top: it crashes in a process with TensorFlow

    torch.set_num_threads(usable_cpus())
    examples, labels = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y)).long()
    order = torch.from_numpy(batch_order(len(x), BATCH_SIZE, 0).take(warming + steps).astype(np.int64))
    parameters = [torch.from_numpy(np.array(array.T, order="C")) for array in start or _drawn()]
    step = VARIANTS[variant](parameters, [torch.ones_like(kernel) for kernel in parameters[::2]], examples, labels)
    for batch in order[:warming]:
        step(batch)
    loss, began = torch.zeros(()), time.perf_counter()
    for batch in order[warming:]:
        loss += step(batch)
    return float(loss) / steps, time.perf_counter() - began


def _drawn() -> list[np.ndarray]:
    generator, sizes = np.random.default_rng(0), (784, 300, 100, 10)
    arrays: list[np.ndarray] = []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        kernel = generator.normal(0, np.sqrt(2 / (inputs + units)), (inputs, units))
        arrays += [kernel.astype(np.float32), np.zeros(units, np.float32)]
    return arrays


def _eager(parameters: Tensors, masks: Tensors, x: Any, y: Any) -> Step:
    """Autograd and PyTorch's fused Adam; the masks are multiplied into the kernels' gradients in one call."""
    import torch
    from torch.nn.functional import cross_entropy, linear, relu

    for parameter in parameters:
        parameter.requires_grad_(True)
    adam = torch.optim.Adam(parameters, LEARNING_RATE, BETAS, EPSILON, fused=True)

    def step(batch: Any) -> Any:
        adam.zero_grad(set_to_none=True)
        hidden = relu(linear(x[batch], parameters[0], parameters[1]))
        hidden = relu(linear(hidden, parameters[2], parameters[3]))
        loss = cross_entropy(linear(hidden, parameters[4], parameters[5]), y[batch])
        loss.backward()
        torch._foreach_mul_([kernel.grad for kernel in parameters[::2]], masks)
        adam.step()
        return loss.detach()

    return step


def _compiled(parameters: Tensors, masks: Tensors, x: Any, y: Any) -> Step:
    """Gradients and Adam written out; Inductor compiles the whole step and autotunes products."""
    import torch
    from torch.nn.functional import linear, log_softmax, one_hot, relu

    moments = [torch.zeros_like(parameter) for parameter in parameters]
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    done = torch.zeros(())

    def update(batch: Any) -> Any:
        inputs, labels = x[batch], y[batch]
        kernels, biases = parameters[::2], parameters[1::2]
        first = relu(linear(inputs, kernels[0], biases[0]))
        second = relu(linear(first, kernels[1], biases[1]))
        logarithms = log_softmax(linear(second, kernels[2], biases[2]), 1)
        chosen = one_hot(labels, logarithms.shape[1])
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

    return step


VARIANTS: dict[str, Callable[..., Step]] = {"eager": _eager, "compiled": _compiled}
"""Functions that make a step: (parameters, masks, x, y) -> the step."""
