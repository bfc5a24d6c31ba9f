"""Process memory per level: searches of many levels, failed ones, fresh graphs, a new model for every training."""

from __future__ import annotations

import gc
import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import psutil
import tyro

from benchmarks import report
from benchmarks.allocator import held_bytes
from benchmarks.growth import growth
from benchmarks.lenet import BATCH_SIZE, LOSS, SIZES, optimizer, random_mnist
from benchmarks.processes import Stage
from lth_keras import runner
from lth_keras.models import lenet_300_100, newsgroups_end2end
from lth_keras.results import RunDirectory
from lth_keras.search import TicketSearch
from lth_keras.tasks import LevelError, Task

BRANCHES = ("winning_ticket", "random_reinit")
WORDS = 14_000
"""Rows of each of the 16 embeddings: 4.2 million weights, so that they train by rows; 67 million in all."""

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Config:
    """Process memory after every level, each way in a process of its own, in about ten minutes on two cores.

    On random data of MNIST's shape, and random words. Steps are few, since memory does not depend on them.
    """

    levels: int = 100
    """Number of prunings of LeNet-300-100; growth is measured from level 5 on."""
    short: int = 20
    """The same of the other ways; growth is measured from level 2 on, with embeddings from level 8: the process
    has been seen to grow until about level 6, and to stay from there. All levels are in the result."""
    steps: int = 20
    """Optimiser updates per training."""
    ways: tuple[Literal["lenet", "embeddings", "failures", "fresh", "naive"], ...] = (
        "lenet",
        "embeddings",
        "failures",
        "fresh",
    )
    """What to measure: a search on LeNet; on a model with 16 embeddings; with every other level's loss not finite; the
    parent process of --fresh-graphs; and a new model and Keras fit for every training."""
    backends: tuple[Literal["tensorflow", "jax"], ...] = ("tensorflow", "jax")
    """Keras backends; those that are not installed are left out."""
    out: Path = report.OUT
    """Directory for memory.json and memory.md."""

    def __post_init__(self) -> None:
        for name in self.ways:
            option, least = "levels" if WAYS[name].long else "short", WAYS[name].first + 3
            if getattr(self, option) < least:
                raise ValueError(
                    f"Expected {option} to be at least {least}, to see growth from level {least - 3} on. "
                    f"Received: {getattr(self, option)}."
                )
        if self.steps < 1:
            raise ValueError(f"Expected at least 1 step. Received: {self.steps}.")


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


class Way(NamedTuple):
    """One of the ways.

    Attributes:
        name: for people.
        function: (levels, steps, **sizes) -> samples.
        long: whether it has `Config.levels`, else `Config.short`.
        first: the level from which growth is measured: those before compile, and fill caches and memory pools.
        asked: resident bytes that a level may cost; None where nothing is asked.
        held: the same of those that the allocator has handed out.
    """

    name: str
    function: Callable[..., list[Sample]]
    long: bool
    first: int
    asked: float | None
    held: float | None = None


WAYS = {
    "lenet": Way("search, LeNet-300-100", lenet, True, 5, 1e5),
    "embeddings": Way("search, 16 embeddings", embeddings, False, 8, None, held=0.0),
    "failures": Way("searches, every other one fails", failures, False, 2, None),
    "fresh": Way("parent of fresh graphs", fresh, False, 2, None),
    "naive": Way("new model and fit", naive, True, 5, None),
}


def measure(config: Config, sizes: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The result, as JSON values.

    Args:
        config: the settings.
        sizes: arguments of the ways that make them smaller, to try the benchmark out.
    """
    missing = [name for name in config.backends if importlib.util.find_spec(name) is None]
    measured = {}
    for name in config.ways:
        way = WAYS[name]
        for backend in (backend for backend in config.backends if backend not in missing):
            levels, first = config.levels if way.long else config.short, way.first
            # A new process for each, so that none sees memory of another.
            with Stage(backend, dict) as stage:
                samples = stage.call(partial(way.function, **(sizes or {}).get(name, {})), levels, config.steps)
            resident, held, device = zip(*samples, strict=True)
            entry = {"asked": way.asked, "first": first, "bytes": list(resident), **growth(resident, first)}
            for part, found, asked in (("held", held, way.held), ("device", device, None)):
                if None not in found:
                    entry[part] = {"asked": asked, "bytes": list(found), **growth(found, first)}
            measured[f"{way.name}, {report.NAMES[backend]}"] = entry
            print(f"{way.name}, {backend}: {entry['slope_bytes'] / 1e3:+.1f} kB a level", flush=True)
    return {
        "settings": {
            "steps": config.steps,
            "branches": list(BRANCHES),
            "batch_size": BATCH_SIZE,
            "examples": list(SIZES),
            "left_out": missing,
        },
        "ways": measured,
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown. MB is 10^6 bytes."""
    settings, ways = result["settings"], result["ways"]
    findings = []
    device = "on the GPU" if result["machine"]["accelerators"] else "arrays that JAX holds"
    parts = {"held": "handed out by the allocator", "device": device}
    for name, way in ways.items():
        levels_measured = f"{way['first']} to {len(way['bytes']) - 1}"
        findings.append([name, levels_measured, *_growth(way)])
        for part, named in parts.items():
            if part in way:
                findings.append([f"{name}: {named}", levels_measured, *_growth(way[part])])
    longest = max(len(way["bytes"]) for way in ways.values())
    shown = [level for level in range(longest) if level < 20 or level % 10 == 0]
    levels = [
        [level, *(f"{way['bytes'][level] / 1e6:.1f}" if level < len(way["bytes"]) else "" for way in ways.values())]
        for level in shown
    ]
    sizes = " / ".join(f"{n:,}" for n in settings["examples"])
    columns = ["", "levels", "growth", "per level (least squares)", "95% interval", "asked: at most"]
    return "\n".join(
        [
            "# Memory per level",
            "",
            f"Resident memory of the process after each level, garbage collected; beside it what the C library's "
            f"allocator has handed out and not got back, where it says so. LeNet-300-100 on random data of MNIST's "
            f"shape ({sizes} examples), branches {' and '.join(settings['branches'])}; a model with 16 "
            f"embeddings of {WORDS:,} x 300, trained by rows, on random words; batches of {settings['batch_size']}, "
            f"{settings['steps']} steps a training. Where searches fail, a row is a search of two trainings, and the "
            "losses of every other one are not finite. Where graphs are fresh, every level has been compared with the "
            "same search with one graph: its masks and curves are the same bits.",
            "",
            report.table(columns, findings),
            "",
            "The interval takes the errors for independent, which memory in steps is not quite: it is a guide. "
            "Resident memory grows too where memory that was handed out long ago is first written to.",
            "",
            report.table(["level", *(f"{name}, MB" for name in ways)], levels),
            "",
            *[f"{report.NAMES[name]} is not installed and takes no part.\n" for name in settings["left_out"]],
            report.about(result),
            "",
        ]
    )


def _growth(found: Mapping[str, Any]) -> list[str]:
    low, high = (bound / 1e3 for bound in found["interval_bytes"])
    return [
        f"{found['growth_bytes'] / 1e6:+.1f} MB",
        f"{found['slope_bytes'] / 1e3:+.0f} kB",
        f"{low:+.0f} to {high:+.0f} kB",
        "" if found["asked"] is None else f"{found['asked'] / 1e3:.0f} kB",
    ]


def main(arguments: Sequence[str] | None = None, sizes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.memory", args=arguments)
    result = {**report.header("memory"), **measure(config, sizes)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
