"""Times two ways to train a network: a search of this library with any engine, and Keras' `fit`."""

from __future__ import annotations

import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import mean
from typing import Any

from benchmarks.subjects import BATCH_SIZE, LOSS, one_evaluated, subject
from lth_keras.search import Pruning, TicketSearch, Training
from lth_keras.system import peak_memory_bytes
from lth_keras.training.engines import width_of

EVALUATE_EVERY = 100
"""Steps between evaluations of a search that evaluates; every tenth is also tested."""


def make_search(
    name: str,
    small: bool,
    steps: int,
    engine: str,
    evaluations: bool,
    densities: Sequence[float],
    threads: int | None,
) -> TicketSearch:
    """The search that `search_speed` times. Args: see there."""
    network = subject(name, small)
    data = network.data()
    pruning = Pruning(rates=0.2)  # ranked by layer, which needs least memory
    if densities:  # the last is for the mask after the last level
        pruning = Pruning(densities=[*densities, densities[-1] / 2], scope="global")
    return TicketSearch(
        build=network.build,
        data=data if evaluations else one_evaluated(data),
        optimizer=network.optimizer,
        loss=LOSS,
        levels=len(densities),
        pruning=pruning,
        training=Training(
            steps=steps,
            batch_size=BATCH_SIZE,
            evaluate_every=EVALUATE_EVERY if evaluations else steps,
            threads=threads,
        ),
        engine=engine,
        name="benchmark",
        config={"benchmark": name},
    )


class Clock:
    """A reporter of a search that records times of steps.

    Attributes:
        calls: by training, (steps done, seconds) at its start and after each call of the compiled program.
        density: of the weights, by level.
    """

    def __init__(self) -> None:
        self.calls: dict[Any, list[tuple[int, float]]] = defaultdict(list)
        self.density: dict[int, float] = {}

    def started(self, task: Any, steps: int) -> None:
        """Records the start of a training."""
        self.calls[task].append((0, time.perf_counter()))

    def advanced(self, task: Any, done: int, steps: int) -> None:
        """Records its progress."""
        self.calls[task].append((done, time.perf_counter()))

    def finished(self, task: Any, scalars: Mapping[str, float]) -> None:
        """Records the density."""
        self.density[task.level] = scalars["density"]

    def rates(self) -> dict[int, float]:
        """Steps per second by level, mean over trials, without the first half of a training, which compiles."""
        found: dict[int, list[float]] = defaultdict(list)
        for task, calls in self.calls.items():
            counted = [call for call in calls if 2 * call[0] >= calls[-1][0]]
            (first, began), *_, (last, ended) = counted if len(counted) > 1 else calls
            found[task.level].append((last - first) / (ended - began))
        return {level: mean(each) for level, each in sorted(found.items())}


def search_speed(
    name: str,
    small: bool,
    steps: int,
    engine: str = "compiled",
    *,
    tickets: int = 1,
    workers: int = 1,
    threads: int | None = None,
    evaluations: bool = False,
    densities: Sequence[float] = (),
    memory: bool = False,
) -> dict[str, float]:
    """Steps per second of a search, summed over tickets trained at the same time.

    Args:
        name: of the network, see `subjects`.
        small: whether to use small data.
        steps: of each training.
        engine: of `TicketSearch`.
        tickets: trials of the search.
        workers: number of worker processes.
        threads: of each training; None for the backend's default.
        evaluations: whether to evaluate every 100 steps and test every 1,000; otherwise only train.
        densities: of levels 1, 2, ...; the speed of each level is returned separately.
        memory: whether to return the peak memory of this process too.
    """
    clock = Clock()
    make = partial(make_search, name, small, steps, engine, evaluations, tuple(densities), threads)
    with tempfile.TemporaryDirectory() as out:
        make().run(tickets, out=out, workers=workers, remake=make, reporter=clock)
    together = workers * width_of(engine)
    rates = {level: together * rate for level, rate in clock.rates().items()}
    found = {
        f"steps/s at density {clock.density[level]:.1%}" if densities else "steps/s": rate
        for level, rate in rates.items()
    }
    return found | ({"peak memory, GB": peak_memory_bytes() / 1e9} if memory else {})


def fit_speed(
    name: str, small: bool, steps: int, *, memory: bool = False, **compile_arguments: Any
) -> dict[str, float]:
    """Steps per second of `fit` on the plain model, in a second call after one that compiles.

    Args:
        name: of the network.
        small: whether to use small data.
        steps: upper limit; rounded down to epochs of equal length.
        memory: as in `search_speed`.
        compile_arguments: of `Model.compile`, beside optimiser and loss.
    """
    network = subject(name, small)
    model = network.build()
    model.compile(network.optimizer(), LOSS, **compile_arguments)
    x, y = network.data()["train"]
    epochs = math.ceil(steps / (len(x) // BATCH_SIZE))
    per_epoch = steps // epochs
    warming = BATCH_SIZE * min(per_epoch, 2 * compile_arguments.get("steps_per_execution", 1))
    model.fit(x[:warming], y[:warming], batch_size=BATCH_SIZE, verbose=0)
    counted = per_epoch * BATCH_SIZE
    started = time.perf_counter()
    model.fit(x[:counted], y[:counted], batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    found = {"steps/s": epochs * per_epoch / (time.perf_counter() - started)}
    return found | ({"peak memory, GB": peak_memory_bytes() / 1e9} if memory else {})
