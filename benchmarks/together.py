"""Tickets of LeNet-300-100 trained together as one program on JAX, beside one by one and in several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import report
from benchmarks.contenders import Contender, loop, one_of_each, take_turns, unevaluated
from benchmarks.lenet import BATCH_SIZE, EVALUATE_EVERY, LOSS, TEST_EVERY, mnist_or_random, optimizer
from benchmarks.processes import Stage, side_by_side
from datasets.splits import Splits
from lth_keras import Network
from lth_keras.backends import device, set_threads
from lth_keras.models import lenet_300_100
from lth_keras.system.machine import usable_cpus
from lth_keras.training.together import Member, Together

ALONE, PROCESSES = "one by one", "in processes of one thread"
FUSED = ", fused kernel"
STEPS = {"cpu": 1_000, "gpu": 20_000}
"""Steps of a turn by the kind of device: a few seconds."""
ASKED_TICKETS, ASKED_RATIO = 10, 1.5
"""On a GPU so many tickets are to take at most so many times the time of one."""


@dataclass(frozen=True)
class Config:
    """Steps per second of LeNet-300-100 on JAX, batches of 60, for one ticket and for several trained together.

    On MNIST where it is there, else on random data of its shape. On a CPU also in worker processes of one thread each,
    as `--workers` trains them. About four minutes on two idle cores, two on a GPU.
    """

    tickets: tuple[int, ...] = (1, 2, 5, 10)
    """How many are trained together. On a GPU also try 50."""
    steps: int | None = None
    """Optimiser updates of a ticket in a turn. Default: 1,000 on a CPU, 20,000 on a GPU."""
    evaluations: bool = False
    """Evaluate as experiments do, every 100 steps on 5,000 and every 1,000 on 10,000 examples; without, only train."""
    rounds: int = 5
    """Rounds in which every number of tickets takes its turn."""
    out: Path = report.OUT
    """Directory for together.json and together.md."""

    def __post_init__(self) -> None:
        if not self.tickets or min(self.tickets) < 1:
            raise ValueError(f"Expected tickets to be one or more numbers from 1. Received: {self.tickets}.")
        for name, value in {"rounds": self.rounds, "steps": self.steps}.items():
            if value is not None and value < 1:
                raise ValueError(f"Expected {name} to be at least 1. Received: {value}.")


def together(splits: Splits, tickets: int, steps: int, evaluations: bool) -> Contender:
    """So many tickets of the dense network as one program, as a search trains them."""
    every, test_every = (EVALUATE_EVERY, TEST_EVERY) if evaluations else (steps, steps)
    network = Network(
        lenet_300_100,
        optimizer=optimizer,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=every,
        test_every=test_every,
    )
    data = network.checked(splits if evaluations else one_of_each(splits))
    program = Together(network, tickets)
    program.load(dict.fromkeys(range(tickets), data))
    members = [Member(dict(network.draw_weights(seed)), network.mask, seed, ()) for seed in range(tickets)]

    def run() -> float:
        losses = []
        for trained in program.train(members, steps):
            if isinstance(trained, ArithmeticError):
                raise trained
            losses.append(trained.curves.train_loss[-1])
        return float(np.mean(losses))

    return Contender(lambda: None, run)  # every training begins with its members' weights


def alone(splits: Splits, steps: int, evaluations: bool, fused: bool = False) -> Contender:
    """One ticket, as a search trains it that trains them one by one."""
    if evaluations:
        return loop(splits, steps, EVALUATE_EVERY, TEST_EVERY, fused)
    return unevaluated(splits, steps, fused)


def measure(config: Config, load: Callable[[], Splits], threads: int | None = None) -> dict[str, Any]:
    """The result, as JSON values.

    Args:
        config: the settings.
        load: the data; importable.
        threads: of a training on a CPU; None for all.
    """
    cores = threads or usable_cpus()
    with ExitStack() as stages:
        stage = stages.enter_context(Stage("jax", load))
        stage.call(set_threads, cores)
        kind, _ = stage.call(device)
        steps = config.steps or STEPS.get(kind, STEPS["gpu"])
        contenders = {ALONE: stage.contender(alone, steps, config.evaluations)}
        tickets = {ALONE: 1}
        if kind == "cpu":
            contenders[ALONE + FUSED] = stage.contender(alone, steps, config.evaluations, True)
            tickets[ALONE + FUSED] = 1
        if kind == "cpu" and cores > 1:
            beside = [stages.enter_context(Stage("jax", load)) for _ in range(cores)]
            for one in beside:
                one.call(set_threads, 1)
            for name, fused in ((PROCESSES, False), (PROCESSES + FUSED, True)):
                contenders[name] = side_by_side(beside, alone, steps, config.evaluations, fused)
                tickets[name] = cores
        for number in config.tickets:
            name = f"{number} together"
            contenders[name], tickets[name] = stage.contender(together, number, steps, config.evaluations), number
        seconds = take_turns(contenders, config.rounds)
        name_of_data = stage.call(_name, load)
    return {
        "data": name_of_data,
        "settings": {
            "steps": steps,
            "rounds": config.rounds,
            "evaluations": config.evaluations,
            "device": kind,
            "threads": cores,
        },
        **compare({name: np.array(each) for name, each in seconds.items()}, tickets, steps),
    }


def _name(load: Callable[[], Splits]) -> str:
    return load().name


def compare(seconds: Mapping[str, np.ndarray], tickets: Mapping[str, int], steps: int) -> dict[str, Any]:
    """Rates, and times beside one ticket alone in the same round.

    Args:
        seconds: of each contender's turn in each round.
        tickets: that each trains in a turn.
        steps: of each ticket.
    """
    return {
        "ways": {
            name: {
                "tickets": tickets[name],
                "steps_per_second_of_each": report.summary(steps / each),
                "steps_per_second_in_all": report.summary(tickets[name] * steps / each),
                "time_of_one": report.summary(each / seconds[ALONE]),
                "times_one_by_one": report.summary(tickets[name] * seconds[ALONE] / each),
            }
            for name, each in seconds.items()
        }
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    settings, spread = result["settings"], report.spread
    rows = [
        [
            name,
            *spread(way["steps_per_second_of_each"], ",.0f"),
            *spread(way["steps_per_second_in_all"], ",.0f"),
            *spread(way["time_of_one"], ".2f"),
            *spread(way["times_one_by_one"], ".2f"),
        ]
        for name, way in result["ways"].items()
    ]
    columns = ["tickets"]
    for column in ("steps/s of each", "steps/s in all", "time of one", "times as fast as one by one"):
        columns += [column, "min - max"]
    evaluated = (
        f"evaluated every {EVALUATE_EVERY} steps and tested every {TEST_EVERY:,}"
        if settings["evaluations"]
        else "training only"
    )
    where = f"CPU, {settings['threads']} threads" if settings["device"] == "cpu" else settings["device"].upper()
    asked = next((way for way in result["ways"].values() if way["tickets"] == ASKED_TICKETS), None)
    verdict = (
        f"{ASKED_TICKETS} tickets take {asked['time_of_one']['median']:.2f} times the time of one. "
        if asked is not None
        else ""
    )
    return "\n".join(
        [
            "# Tickets trained together",
            "",
            f"LeNet-300-100 on JAX, batches of {BATCH_SIZE}, Adam, on {result['data']}, {where}, {evaluated}. "
            f"{settings['rounds']} rounds; in each, every row takes a turn of {settings['steps']:,} steps of each "
            "of its tickets, compiled before. Tickets share one data set. Ratios are taken within a round.",
            "",
            report.table(columns, rows),
            "",
            f"{verdict}Asked of a GPU: less than {ASKED_RATIO}.",
            "",
            report.about(result),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None, load: Callable[[], Splits] = mnist_or_random) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.together", args=arguments)
    result = {**report.header("together"), **measure(config, load)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
