"""A training step of Newsgroups-End2End, 294 million embedding weights: this library's loops beside Keras fit."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tyro

from benchmarks import report
from benchmarks.processes import Stage
from datasets import newsgroups
from datasets.splits import Split
from lth_keras import Network
from lth_keras.data.splits import Arrays
from lth_keras.models import newsgroups_end2end
from lth_keras.system.machine import peak_memory_bytes

ROWS, FIT, COMPILED = "this loop", "Keras fit", "Keras fit, compiled"
JAX = "JAX, by rows"
RATIOS = {(ROWS, FIT): 2.5, (ROWS, COMPILED): None, (JAX, FIT): None, (JAX, COMPILED): None, (JAX, ROWS): None}
"""The ratios that are reported, and what is asked of them."""
ASKED_SECONDS = 0.35
"""What is asked of a step, at most."""
BATCH_SIZE = 60
LOSS = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Config:
    """Seconds per step of Newsgroups-End2End with batches of 60 documents: this library's loops, and Keras fit.

    On 20 Newsgroups where it is there, else on random words of about its frequencies. Every turn has a process of its
    own, since two such models do not fit beside each other; it takes up to 8 GB, and three rounds about a quarter of an
    hour on two idle cores. JAX takes part where it is installed (extra `jax`).
    """

    rounds: int = 3
    """Rounds in which every contender takes its turn."""
    steps: int = 60
    """Steps of a turn of these loops that count; Keras fit makes a quarter as many."""
    dimension: int = 300
    """Columns of each embedding; fewer than the thesis' 300 are a smaller model, to try the benchmark out."""
    out: Path = report.OUT
    """Directory for embedding_step.json and embedding_step.md."""
    backends: tuple[Literal["jax"], ...] = ("jax",)
    """What takes part beside TensorFlow, where it is installed."""

    def __post_init__(self) -> None:
        for name in ("rounds", "steps", "dimension"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} to be at least 1. Received: {getattr(self, name)}.")


Load = Callable[[], tuple[str, Arrays]]
"""The data's name and training documents; importable, as every turn has a process of its own."""


class Turn(NamedTuple):
    """What one turn took: seconds of each step that counts, or the mean where steps come in calls, and peak memory."""

    seconds: list[float]
    peak_bytes: int


def documents() -> tuple[str, Arrays]:
    """Their name, and training documents: 20 Newsgroups where it is on this machine, else random words."""
    if newsgroups.status().present:
        return "20 Newsgroups", newsgroups.load().train
    generator = np.random.default_rng(0)
    words = np.minimum(generator.zipf(1.25, (4000, 200)), newsgroups.ROWS - 1).astype(np.int32)
    return "random words (20 Newsgroups is not on this machine)", (words, generator.integers(20, size=4000))


def build(dimension: int) -> keras.Model:
    """The plain Keras model."""
    return newsgroups_end2end(newsgroups.ROWS, dimension=dimension)


def rows(load: Load, steps: int, dimension: int) -> Turn:
    """This loop: `Network.train`, as a search calls it, timed from step to step."""
    _, (x, y) = load()
    network = Network(
        lambda: build(dimension),
        optimizer=keras.optimizers.Adam,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=10 * steps,
        test_every=10 * steps,
    )
    one = Split(x[:1], y[:1])
    network.load({"train": (x, y), "validation": one, "test": one})
    times: list[float] = []

    def note() -> None:
        times.append(time.perf_counter())

    # The first half compiles, a program for each number of rows; the last step also evaluates.
    network.train(2 * steps + 1, seed=0, after=dict.fromkeys((steps, 2 * steps), note))
    began, ended = times
    return Turn([(ended - began) / steps], peak_memory_bytes())


def fit(load: Load, steps: int, dimension: int, jit_compile: bool) -> Turn:
    """Keras fit as a user writes it, timed from batch to batch."""
    _, (x, y) = load()
    model = build(dimension)
    model.compile(keras.optimizers.Adam(), LOSS, jit_compile=jit_compile)
    ends: list[float] = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs=None: ends.append(time.perf_counter()))
    warming, counted = 3, max(2, steps // 4)
    size = BATCH_SIZE * (warming + counted)
    model.fit(x[:size], y[:size], batch_size=BATCH_SIZE, verbose=0, callbacks=[note])
    return Turn(np.diff(ends[warming - 1 :]).tolist(), peak_memory_bytes())


def measure(config: Config, load: Load = documents) -> dict[str, Any]:
    """The result, as JSON values."""
    missing = [name for name in config.backends if importlib.util.find_spec(name) is None]
    size = (config.steps, config.dimension)
    contenders: dict[str, tuple[str, Callable[..., Turn], tuple[Any, ...]]] = {
        ROWS: ("tensorflow", rows, size),
        JAX: ("jax", rows, size),
        FIT: ("tensorflow", fit, (*size, False)),
        COMPILED: ("tensorflow", fit, (*size, True)),
    }
    backends = {"tensorflow", *config.backends} - set(missing)
    names = [name for name, (backend, *_) in contenders.items() if backend in backends]
    turns: dict[str, list[Turn]] = {name: [] for name in names}
    for number in range(config.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            backend, function, arguments = contenders[name]
            with Stage(backend, dict) as stage:
                turn = stage.call(function, load, *arguments)
            print(f"round {number + 1} of {config.rounds}, {name}: {np.median(turn.seconds):.3f} s a step", flush=True)
            turns[name].append(turn)
    seconds = {name: np.array([np.median(turn.seconds) for turn in each]) for name, each in turns.items()}
    return {
        "data": load()[0],
        "settings": {"rounds": config.rounds, "steps": config.steps, "dimension": config.dimension},
        "left_out": missing,
        "weights": 16 * newsgroups.ROWS * config.dimension,
        "peak_bytes": {name: max(turn.peak_bytes for turn in each) for name, each in turns.items()},
        **compare(seconds),
    }


def compare(seconds: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Seconds of a step of each contender in each round, summed up, and the ratios of those of one round."""
    return {
        "seconds_per_step": {name: report.summary(each) for name, each in seconds.items()},
        "ratios": [
            {"of": a, "to": b, "asked": asked, **report.summary(seconds[b] / seconds[a])}
            for (a, b), asked in RATIOS.items()
            if a in seconds and b in seconds
        ],
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown. GB is 10^9 bytes."""
    how = {
        ROWS: "`Network.train`, masked layers, only the rows in use; on TensorFlow",
        JAX: "the same on JAX",
        FIT: "`compile(Adam(), loss)`, `fit(x, y, batch_size=60)`; on TensorFlow",
        COMPILED: "the same with `jit_compile=True`",
    }
    times = [
        [name, how[name], *report.spread(each, ".3f"), f"{result['peak_bytes'][name] / 1e9:.1f}"]
        for name, each in result["seconds_per_step"].items()
    ]
    ratios = [
        [f"{ratio['of']} / {ratio['to']}", *report.spread(ratio, ".2f"), ratio["asked"] or ""]
        for ratio in result["ratios"]
    ]
    settings = result["settings"]
    return "\n".join(
        [
            "# A step with large embeddings",
            "",
            f"Newsgroups-End2End, {result['weights']:,} embedding weights, batches of 60, Adam, on {result['data']}. "
            f"{settings['rounds']} rounds; every turn has a process of its own and, after compilation, "
            f"{settings['steps']} steps of this library's loop or a quarter as many of Keras fit.",
            "",
            report.table(["s/step", "how", "median", "min - max", "peak memory, GB"], times),
            "",
            "How many times faster, within a round:",
            "",
            report.table(["ratio", "median", "min - max", "asked: at least"], ratios),
            "",
            *[f"{report.NAMES[name]} is not installed and takes no part.\n" for name in result["left_out"]],
            f"Asked of a step: at most {ASKED_SECONDS} s.",
            "",
            report.about(result),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None, load: Load = documents) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.embedding_step", args=arguments)
    result = {**report.header("embedding_step"), **measure(config, load)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
