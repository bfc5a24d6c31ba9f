"""Process memory per level: a search of 30 levels, and the naive way of a new model for every training."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tyro

from benchmarks import report
from benchmarks.growth import growth
from benchmarks.lenet import BATCH_SIZE, LOSS, SIZES, optimizer, random_mnist
from lth_keras.models import lenet_300_100
from lth_keras.search import TicketSearch
from lth_keras.tasks import Task

FIRST_LEVEL = 5
"""Growth is counted from here: the levels before compile, and fill the caches and memory pools of the libraries."""
BRANCHES = ("winning_ticket", "random_reinit")


@dataclass(frozen=True)
class Config:
    """Process memory after every level of a search on LeNet-300-100, within about three minutes on two cores.

    The search runs in a process of its own, with two branches, on random data of MNIST's shape. Steps are few, since
    memory does not depend on them.
    """

    levels: int = 30
    """Number of prunings, at least 8: growth is measured from level 5 on."""
    steps: int = 100
    """Optimiser updates per training."""
    naive: bool = False
    """Also measure a new model and optimiser, trained by Keras fit, for every training (two minutes more)."""
    out: Path = report.OUT
    """Directory for memory.json and memory.md."""

    def __post_init__(self) -> None:
        if self.levels < FIRST_LEVEL + 3:
            raise ValueError(
                f"Expected at least {FIRST_LEVEL + 3} levels, to see growth from level "
                f"{FIRST_LEVEL} on. Received: {self.levels}."
            )
        if self.steps < 1:
            raise ValueError(f"Expected at least 1 step. Received: {self.steps}.")


def resident_bytes() -> int:
    """Resident memory of this process, garbage collected."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


class Sampler:
    """A search's reporter that notes the memory after every level, all its branches done.

    Attributes:
        level: level to bytes.
    """

    def __init__(self) -> None:
        self.level: dict[int, int] = {}

    def started(self, task: Task, steps: int) -> None:
        """Nothing to note."""

    def advanced(self, task: Task, done: int, steps: int) -> None:
        """Nothing to note."""

    def finished(self, task: Task, scalars: Mapping[str, float]) -> None:
        """Notes the memory; a later branch of the level replaces it."""
        self.level[task.level] = resident_bytes()


def search(levels: int, steps: int, sizes: tuple[int, int, int] = SIZES) -> list[int]:
    """Bytes after each of the levels 0 ... `levels` of a TicketSearch in this process."""
    data = random_mnist(sizes)
    sampler = Sampler()
    with tempfile.TemporaryDirectory() as out:
        TicketSearch(
            build=lenet_300_100,
            data=data,
            optimizer=optimizer,
            loss=LOSS,
            rates={"dense": 0.2, "output": 0.1},
            levels=levels,
            steps=steps,
            batch_size=BATCH_SIZE,
            name="memory",
            config={"benchmark": "memory"},
        ).run(branches=BRANCHES, out=out, reporter=sampler)
    return [sampler.level[level] for level in range(levels + 1)]


def naive(levels: int, steps: int, sizes: tuple[int, int, int] = SIZES) -> list[int]:
    """Bytes after each level, where every training makes a model and an optimiser and calls Keras fit.

    As many trainings as `search` does: one at level 0, then one per branch.
    """
    x, y = (part[: steps * BATCH_SIZE] for part in random_mnist(sizes).train)
    used = []
    for level in range(levels + 1):
        for _ in BRANCHES if level else BRANCHES[:1]:
            model = lenet_300_100()
            model.compile(optimizer(), LOSS)
            model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)
            del model
        used.append(resident_bytes())
    return used


def measure(config: Config, sizes: tuple[int, int, int] = SIZES) -> dict[str, Any]:
    """The result, as JSON values; each way in a new process, so that neither sees memory of the other."""
    ways: dict[str, Callable[..., list[int]]] = {"TicketSearch": search}
    if config.naive:
        ways["new model and fit"] = naive
    measured = {}
    for name, way in ways.items():
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            used = pool.submit(way, config.levels, config.steps, sizes).result()
        measured[name] = {"bytes": used, **growth(used, FIRST_LEVEL)}
    return {
        "settings": {
            "levels": config.levels,
            "steps": config.steps,
            "branches": list(BRANCHES),
            "batch_size": BATCH_SIZE,
            "examples": list(sizes),
            "first_level": FIRST_LEVEL,
        },
        "ways": measured,
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown. MB is 10^6 bytes."""
    settings, ways = result["settings"], result["ways"]
    first, last = settings["first_level"], settings["levels"]
    findings = [
        [
            name,
            f"{way['growth_bytes'] / 1e6:+.1f} MB",
            f"{way['slope_bytes'] / 1e3:+.0f} kB",
            "{:+.0f} to {:+.0f} kB".format(*(bound / 1e3 for bound in way["interval_bytes"])),
        ]
        for name, way in ways.items()
    ]
    columns = ["", f"level {first} to {last}", "per level (least squares)", "95% interval"]
    levels = [[level, *(f"{way['bytes'][level] / 1e6:.1f}" for way in ways.values())] for level in range(last + 1)]
    sizes = " / ".join(f"{n:,}" for n in settings["examples"])
    return "\n".join(
        [
            "# Memory per level",
            "",
            f"LeNet-300-100 on random data of MNIST's shape ({sizes} examples), batches of "
            f"{settings['batch_size']}, {settings['steps']} steps a training, branches "
            f"{' and '.join(settings['branches'])}: resident memory of the process after each level, garbage "
            f"collected. Asked for: at most 10 MB from level 5 to level 30.",
            "",
            report.table(columns, findings),
            "",
            "The interval takes the errors for independent, which memory in steps is not quite: it is a guide.",
            "",
            report.table(["level", *(f"{name}, MB" for name in ways)], levels),
            "",
            report.about(result),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None, sizes: tuple[int, int, int] = SIZES) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.memory", args=arguments)
    result = {**report.header("memory"), **measure(config, sizes)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
