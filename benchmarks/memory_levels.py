"""What takes memory, level by level: searches, searches of which some fail, fresh graphs, and a new model and fit."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import psutil

from benchmarks.allocator import held_bytes
from benchmarks.lenet import BATCH_SIZE, LOSS, SIZES, optimizer, random_mnist
from benchmarks.processes import Stage
from lth_keras.models import lenet_300_100, newsgroups_end2end
from lth_keras.search import runner
from lth_keras.search.search import TicketSearch
from lth_keras.search.tasks import LevelError, Task
from lth_keras.storage import RunDirectory

BRANCHES = ("winning_ticket", "random_reinit")
WORDS = 14_000
"""Rows of each of the 16 embeddings: 4.2 million weights, so that they train by rows; 67 million in all."""

Sizes = tuple[int, int, int]


class Sample(NamedTuple):
    """Bytes at one time.

    Attributes:
        resident: of the process.
        held: handed out by the C library's allocator; None where it does not say.
        device: in use on the GPU; on a CPU, of the arrays that JAX holds; None where neither is known.
    """

    resident: int
    held: int | None
    device: int | None


def sample() -> Sample:
    """The memory of this process, garbage collected."""
    gc.collect()
    device = None
    if keras.backend.backend() == "jax":
        import jax

        statistics = jax.devices()[0].memory_stats() or {}
        device = statistics.get("bytes_in_use", sum(array.nbytes for array in jax.live_arrays()))
    return Sample(int(psutil.Process().memory_info().rss), held_bytes(), device)


class Sampler:
    """A search's reporter that notes the memory after every level, all its branches done.

    Attributes:
        level: level to memory.
    """

    def __init__(self) -> None:
        self.level: dict[int, Sample] = {}

    def started(self, task: Task, steps: int) -> None:
        """Nothing to note."""

    def advanced(self, task: Task, done: int, steps: int) -> None:
        """Nothing to note."""

    def finished(self, task: Task, scalars: Mapping[str, float]) -> None:
        """Notes the memory; a later branch of the level replaces it."""
        self.level[task.level] = sample()

    @property
    def samples(self) -> list[Sample]:
        """By level."""
        return [self.level[level] for level in sorted(self.level)]


def lenet_search(levels: int, steps: int, sizes: Sizes) -> TicketSearch:
    """A search on LeNet that keeps 1.7% of the weights after 100 levels."""
    return TicketSearch(
        build=lenet_300_100,
        data=random_mnist(sizes),
        optimizer=optimizer,
        loss=LOSS,
        rates={"dense": 0.04, "output": 0.02},
        levels=levels,
        steps=steps,
        batch_size=BATCH_SIZE,
        name="memory",
        config={"benchmark": "memory"},
        vectorize=1,
    )


def lenet(levels: int, steps: int, sizes: Sizes = SIZES) -> list[Sample]:
    """After each of the levels 0 ... `levels` of a search in this process."""
    sampler = Sampler()
    with tempfile.TemporaryDirectory() as out:
        lenet_search(levels, steps, sizes).run(branches=BRANCHES, out=out, reporter=sampler)
    return sampler.samples


def embeddings(levels: int, steps: int, words: int = WORDS, dimension: int = 300) -> list[Sample]:
    """The same on a model with 16 embeddings; tables of 4 million weights and more train by rows."""
    generator = np.random.default_rng(0)
    data = {
        name: (generator.integers(words, size=(n, 200), dtype=np.int32), generator.integers(20, size=n))
        for name, n in {"train": 600, "validation": 60, "test": 60}.items()
    }
    sampler = Sampler()
    with tempfile.TemporaryDirectory() as out:
        TicketSearch(
            build=lambda: newsgroups_end2end(words, dimension=dimension),
            data=data,
            optimizer=keras.optimizers.Adam,
            loss=LOSS,
            rates={"embedding": 0.2, "conv": 0.15, "output": 0.2},
            levels=levels,
            steps=steps,
            batch_size=BATCH_SIZE,
            evaluate_every=steps,
            test_every=steps,
            name="memory",
            config={"benchmark": "memory"},
            vectorize=1,
        ).run(out=out, reporter=sampler)
    return sampler.samples


def failures(levels: int, steps: int, sizes: Sizes = SIZES) -> list[Sample]:
    """After each of `levels` + 1 searches of one level, of which every other one fails: its loss is not finite."""
    fine = random_mnist(sizes)
    # Finite, but a weighted sum of these is not.
    broken = {
        name: (getattr(fine, name).x * np.float32(3e38), getattr(fine, name).y)
        for name in ("train", "validation", "test")
    }
    search = lenet_search(1, steps, sizes)
    search.data = lambda seed: broken if seed % 2 else fine
    samples = []
    for seed in range(levels + 1):
        search.seed, failed = seed, False
        with tempfile.TemporaryDirectory() as out:
            try:
                search.run(out=out)
            except LevelError:
                failed = True
        if failed != bool(seed % 2):
            raise RuntimeError(f"Expected every other search to fail. Received: {failed} of search {seed}.")
        samples.append(sample())
    return samples


def fresh(levels: int, steps: int, sizes: Sizes = SIZES) -> list[Sample]:
    """This process, in which no graph is built, while each level's is built in a process of its own.

    Raises:
        RuntimeError: where a level differs in a bit from the same search with one graph.
    """
    make = partial(lenet_search, levels, steps, sizes)
    sampler = Sampler()
    with tempfile.TemporaryDirectory() as out:
        apart = runner.run(make, out=Path(out) / "fresh", fresh_graphs=True, reporter=sampler)
        with Stage(keras.backend.backend(), dict) as stage:  # not here, where it would take memory
            stage.call(run_with_one_graph, make, Path(out) / "one")
        check_same_bits(apart.directory, RunDirectory.load(next((Path(out) / "one").iterdir())))
    return sampler.samples


def run_with_one_graph(make: Callable[[], TicketSearch], out: Path) -> None:
    """A search in this process."""
    make().run(out=out)


def check_same_bits(one: RunDirectory, other: RunDirectory) -> None:
    """Raises RuntimeError where two runs differ in a mask or in what was measured, time and memory aside."""
    levels = one.finished()
    if levels != other.finished():
        raise RuntimeError(f"Expected the same levels. Received: {levels ^ other.finished()}.")
    for key in sorted(levels):
        a, b = one.read(*key), other.read(*key)
        assert a is not None and b is not None
        same = a.mask == b.mask and a.next_mask == b.next_mask
        same &= all(np.array_equal(a.curves[name], b.curves[name], equal_nan=True) for name in a.curves)
        if not same:
            raise RuntimeError(f"Expected the same bits with fresh graphs and with one. Received: others in {key}.")


def naive(levels: int, steps: int, sizes: Sizes = SIZES) -> list[Sample]:
    """After each level, where every training makes a model and an optimiser and calls Keras fit.

    As many trainings as `lenet` does: one at level 0, then one per branch.
    """
    x, y = (part[: steps * BATCH_SIZE] for part in random_mnist(sizes).train)
    used = []
    for level in range(levels + 1):
        for _ in BRANCHES if level else BRANCHES[:1]:
            model = lenet_300_100()
            model.compile(optimizer(), LOSS)
            model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
            del model
        used.append(sample())
    return used
