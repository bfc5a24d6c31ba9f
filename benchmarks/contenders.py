"""The ways to train LeNet-300-100 that are compared, and the turns that they take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from benchmarks.lenet import BATCH_SIZE, LOSS, optimizer
from datasets.splits import Split, Splits
from lth_keras import Network
from lth_keras.models import lenet_300_100


class Contender(NamedTuple):
    """A way to train, ready and with its data.

    Attributes:
        restore: puts the weights back to where training starts; not timed.
        run: trains for a turn's steps and returns its last loss, so that it is finished.
    """

    restore: Callable[[], None]
    run: Callable[[], float]


class Turn(NamedTuple):
    """What one turn of every contender trains: `epochs` passes over `steps_per_epoch` batches."""

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Optimiser updates in all."""
        return self.epochs * self.steps_per_epoch

    @classmethod
    def of(cls, steps: int, examples: int) -> Turn:
        """At most `steps` updates in equal epochs, none longer than the data lasts."""
        epochs = math.ceil(steps / (examples // BATCH_SIZE))
        return cls(epochs, steps // epochs)


def loop(splits: Splits, steps: int, evaluate_every: int, test_every: int, fused: bool = False) -> Contender:
    """This library's loop: `Network.train`, as a search calls it for a level; with the fused kernel or without."""
    network = Network(
        lenet_300_100,
        optimizer=optimizer,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=evaluate_every,
        test_every=test_every,
        fused=fused,
    )
    network.load(splits)
    start = dict(network.draw_weights(0))

    def restore() -> None:
        network.weights = start

    return Contender(restore, lambda: float(network.train(steps, seed=0).train_loss[-1]))


def unevaluated(splits: Splits, steps: int, fused: bool = False) -> Contender:
    """The loop training only: its one evaluation, after the last step, sees a single example."""
    return loop(one_of_each(splits), steps, evaluate_every=steps, test_every=steps, fused=fused)


def one_of_each(splits: Splits) -> Any:
    """The data with a single example to validate and one to test on, for `Network.load`."""
    one = {name: Split(*(part[:1] for part in getattr(splits, name))) for name in ("validation", "test")}
    return {"train": splits.train, **one}


def plain_model(**compile_arguments: Any) -> keras.Model:
    """The plain Keras model, compiled with these arguments beside optimiser and loss."""
    model = lenet_300_100()
    model.compile(optimizer(), LOSS, **compile_arguments)
    return model


def fit(splits: Splits, turn: Turn, **compile_arguments: Any) -> Contender:
    """Keras fit on the plain model, the whole turn in one call."""
    model = plain_model(**compile_arguments)
    start = model.get_weights()
    x, y = (part[: turn.steps_per_epoch * BATCH_SIZE] for part in splits.train)

    def run() -> float:
        history = model.fit(x, y, batch_size=BATCH_SIZE, epochs=turn.epochs, verbose=0)
        return float(history.history["loss"][-1])

    return Contender(lambda: model.set_weights(start), run)


def pytorch_ways() -> list[str]:
    """The ways to write the loop in PyTorch; in a process without TensorFlow, beside which PyTorch crashes."""
    from benchmarks import torch_loop

    return list(torch_loop.VARIANTS)


def hand_tuned(splits: Splits, steps: int, variant: str, start: Sequence[np.ndarray] | None = None) -> Contender:
    """PyTorch; see `benchmarks.torch_loop.train`."""
    from benchmarks import torch_loop  # of an optional extra

    return torch_loop.train(splits, steps, variant, start)


def take_turns(
    contenders: Mapping[str, Contender], rounds: int, after_turn: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of every contender in every round; each round begins with another one.

    Every contender first takes a turn that does not count, to compile.

    Args:
        contenders: by name.
        rounds: turns of each that count.
        after_turn: called after every turn that counts.

    Raises:
        ArithmeticError: where a contender's loss is not finite: what it did was not training.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for counted in range(-1, rounds):
        first = max(counted, 0) % len(names)
        for name in names[first:] + names[:first]:
            contenders[name].restore()
            started = time.perf_counter()
            loss = contenders[name].run()
            taken = time.perf_counter() - started
            if not math.isfinite(loss):
                raise ArithmeticError(f"Expected a finite loss of {name!r}. Received: {loss}.")
            if counted >= 0:
                seconds[name].append(taken)
                after_turn()
    return seconds
