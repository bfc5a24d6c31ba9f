"""Memory growth per level: searches, and a new model and fit for every training."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psutil

from benchmarks.harness import Case, Contender
from benchmarks.subjects import BATCH_SIZE, LOSS, data_name, subject
from lth_keras import TicketSearch

LEVELS, FIRST = 60, 5
"""Levels of a search, and the first that counts: those before compile and fill caches."""
BRANCHES = ("winning_ticket", "random_reinit")
STEPS = 20


class Sampler:
    """A reporter of a search that records the memory of this process after each level."""

    def __init__(self) -> None:
        self.level: dict[int, int] = {}

    def started(self, task: Any, steps: int) -> None:
        """Nothing to note."""

    def advanced(self, task: Any, done: int, steps: int) -> None:
        """Nothing to note."""

    def finished(self, task: Any, scalars: Mapping[str, float]) -> None:
        """Records the memory; a later branch of the level replaces it."""
        self.level[task.level] = resident_bytes()


def resident_bytes() -> int:
    """Resident memory of this process after garbage collection."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def growth(samples: Sequence[int]) -> dict[str, float]:
    """Resident memory in MB (10^6 bytes) and its slope by least squares, from level `FIRST` on."""
    counted = np.asarray(samples[FIRST:], np.float64)
    slope = np.polyfit(np.arange(len(counted)), counted, 1)[0]
    return {
        f"MB after level {FIRST}": counted[0] / 1e6,
        "MB after the last": counted[-1] / 1e6,
        "kB a level": slope / 1e3,
    }


def by_search(small: bool, levels: int) -> dict[str, float]:
    """A search of `levels` levels in this process."""
    network, sampler = subject("lenet", small), Sampler()
    with tempfile.TemporaryDirectory() as out:
        TicketSearch(
            build=network.build,
            data=network.data(),
            optimizer=network.optimizer,
            loss=LOSS,
            rates={"dense": 0.06, "output": 0.03},
            levels=levels,
            steps=STEPS,
            batch_size=BATCH_SIZE,
            config={"benchmark": "memory"},
            engine="compiled",
        ).run(branches=BRANCHES, out=out, reporter=sampler)
    return growth([sampler.level[level] for level in sorted(sampler.level)])


def by_fit(small: bool, levels: int) -> dict[str, float]:
    """The same number of trainings, each with a new model and `fit`."""
    network, samples = subject("lenet", small), []
    x, y = (part[: STEPS * BATCH_SIZE] for part in network.data()["train"])
    for level in range(levels + 1):
        for _ in BRANCHES if level else BRANCHES[:1]:
            model = network.build()
            model.compile(network.optimizer(), LOSS)
            model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
            del model
        samples.append(resident_bytes())
    return growth(samples)


def contenders(small: bool) -> dict[str, Contender]:
    """A search on each backend, and `fit`."""
    arguments = (small, 8 if small else LEVELS)
    return {
        "search, TensorFlow": Contender("tensorflow", by_search, arguments),
        "search, JAX": Contender("jax", by_search, arguments),
        "new model and fit, TensorFlow": Contender("tensorflow", by_fit, arguments),
    }


CASE = Case(
    "Memory per level",
    f"LeNet-300-100, {LEVELS} levels of two branches, {STEPS} steps of 60 a training: resident memory of the process "
    "after each level, garbage collected.",
    contenders,
    data_name("lenet"),
    rounds=1,
)
