"""Process memory per level: searches of many levels, failed ones, fresh graphs, a new model for every training."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from benchmarks import report
from benchmarks.growth import growth
from benchmarks.lenet import BATCH_SIZE, SIZES
from benchmarks.memory_levels import BRANCHES, WORDS, Sample, embeddings, failures, fresh, lenet, naive
from benchmarks.processes import Stage


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
