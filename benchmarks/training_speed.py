"""Training speed on LeNet-300-100: this library's loop beside Keras fit, contenders taking turns in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import report
from benchmarks.contenders import Turn, fit, loop, plain_model, take_turns, unevaluated
from benchmarks.flop import dense_sizes, evaluated_examples, forward_flop, training_flop
from benchmarks.lenet import BATCH_SIZE, EVALUATE_EVERY, TEST_EVERY, mnist_or_random
from benchmarks.machine import MatrixProduct
from datasets.splits import Splits

LOOP, EVALUATED, FIT, TUNED = (
    "this loop",
    "this loop with evaluations",
    "Keras fit",
    "best-tuned Keras fit",
)
RATIOS = {(LOOP, FIT): 5.0, (LOOP, TUNED): 1.8, (EVALUATED, FIT): None, (EVALUATED, TUNED): None}
"""The ratios that are reported, and what is asked of them."""
ASKED_SHARE = 0.35
"""What is asked of the loop's share of the machine's matrix-product peak."""


@dataclass(frozen=True)
class Config:
    """Steps per second of LeNet-300-100 with batches of 60: this library's loop, and Keras fit, taking turns.

    On MNIST where it is there, else on random data of its shape. About four minutes on two idle cores.
    """

    rounds: int = 7
    """Rounds in which every contender takes its turn."""
    steps: int = 3200
    """Optimiser updates per turn; rounded down to whole epochs of equal length."""
    steps_per_execution: tuple[int, ...] = (10, 50, 200)
    """What Keras fit is tuned over."""
    matrix_size: int = 2048
    """Rows of the square matrices whose product is the machine's peak."""
    out: Path = report.OUT
    """Directory for training_speed.json and training_speed.md."""

    def __post_init__(self) -> None:
        for name in ("rounds", "steps", "matrix_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} to be at least 1. Received: {getattr(self, name)}.")
        if not self.steps_per_execution or min(self.steps_per_execution) < 1:
            raise ValueError(
                f"Expected steps_per_execution to be one or more numbers from 1. Received: {self.steps_per_execution}."
            )


def tune(splits: Splits, steps_per_execution: Sequence[int], turn: Turn) -> tuple[int, dict[str, Any]]:
    """The best `steps_per_execution` of Keras fit with `jit_compile=True`, by the median of three turns.

    Returns:
        The best, and steps per second of each.
    """
    contenders = {
        str(number): fit(splits, turn, jit_compile=True, steps_per_execution=number) for number in steps_per_execution
    }
    seconds = take_turns(contenders, rounds=3)
    rates = {number: report.summary(turn.steps / np.array(each)) for number, each in seconds.items()}
    return int(max(rates, key=lambda number: rates[number]["median"])), rates


def measure(config: Config, splits: Splits) -> dict[str, Any]:
    """The result, as JSON values."""
    examples = [len(getattr(splits, name).x) for name in ("train", "validation", "test")]
    turn = Turn.of(config.steps, examples[0])
    best, tuning = tune(splits, config.steps_per_execution, turn)
    contenders = {
        LOOP: unevaluated(splits, turn.steps),
        EVALUATED: loop(splits, turn.steps, EVALUATE_EVERY, TEST_EVERY),
        FIT: fit(splits, turn),
        TUNED: fit(splits, turn, jit_compile=True, steps_per_execution=best),
    }
    product = MatrixProduct(config.matrix_size)
    products: list[float] = []
    seconds = take_turns(contenders, config.rounds, lambda: products.append(product.seconds()))
    plain = plain_model()
    sizes = dense_sizes(plain)
    # A round's peak is the median over the round, as its turns are spread over it.
    peaks = product.flop / np.median(np.reshape(products, (config.rounds, -1)), axis=1)
    return {
        "data": splits.name,
        "settings": {
            "rounds": config.rounds,
            "steps": turn.steps,
            "epochs": turn.epochs,
            "batch_size": BATCH_SIZE,
            "examples": examples,
            "evaluate_every": EVALUATE_EVERY,
            "test_every": TEST_EVERY,
            "matrix_size": config.matrix_size,
            "fit_jit_compile": bool(plain.jit_compile),
            "steps_per_execution": best,
        },
        "tuning": tuning,
        **compare(
            {name: np.array(each) for name, each in seconds.items()},
            peaks,
            steps=turn.steps,
            step_flop=training_flop(sizes, BATCH_SIZE),
            evaluation_flop=forward_flop(
                sizes,
                evaluated_examples(turn.steps, {EVALUATE_EVERY: examples[1], TEST_EVERY: examples[2]}),
            ),
        ),
    }


def compare(
    seconds: Mapping[str, np.ndarray],
    peaks: np.ndarray,
    *,
    steps: int,
    step_flop: int,
    evaluation_flop: int,
) -> dict[str, Any]:
    """Rates, and ratios of the turns of one round, summed up over the rounds.

    Args:
        seconds: of each contender's turn in each round.
        peaks: FLOP/s of the matrix product in each round.
        steps: of a turn.
        step_flop: of a training step.
        evaluation_flop: of the evaluations of a turn.

    Returns:
        Part of the result; the speed of evaluations is None where noise makes their time negative in a round.
    """
    # Both train the same steps: what one takes longer than the other is its evaluations.
    evaluating = seconds[EVALUATED] - seconds[LOOP]
    rate = {name: steps / each for name, each in seconds.items()}
    training_speed = rate[LOOP] * step_flop
    evaluation_speed = evaluation_flop / evaluating if np.all(evaluating > 0) else None
    return {
        "step_flop": step_flop,
        "evaluation_flop": evaluation_flop,
        "steps_per_second": {name: report.summary(each) for name, each in rate.items()},
        "ratios": [
            {"of": a, "to": b, "asked": asked, **report.summary(rate[a] / rate[b])} for (a, b), asked in RATIOS.items()
        ],
        "peak_flop_per_second": report.summary(peaks),
        "share_of_peak": {"asked": ASKED_SHARE, **report.summary(training_speed / peaks)},
        "training_flop_per_second": report.summary(training_speed),
        "evaluation": {
            "share_of_time": report.summary(evaluating / seconds[EVALUATED]),
            "share_of_flop": evaluation_flop / (evaluation_flop + steps * step_flop),
            "flop_per_second": None if evaluation_speed is None else report.summary(evaluation_speed),
            "flop_per_second_to_training": None
            if evaluation_speed is None
            else {"asked": 1.0, **report.summary(evaluation_speed / training_speed)},
        },
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    settings, evaluation = result["settings"], result["evaluation"]
    best = settings["steps_per_execution"]
    how = {
        LOOP: "`Network.train`, masked layers, training only",
        EVALUATED: f"the same with an evaluation on {settings['examples'][1]:,} examples every "
        f"{settings['evaluate_every']} steps and on {settings['examples'][2]:,} every "
        f"{settings['test_every']}, as experiments use it",
        FIT: f"`compile(adam, loss)`, `fit(x, y, batch_size={settings['batch_size']}, verbose=0)`; Keras' "
        f"default is `jit_compile={settings['fit_jit_compile']}` here",
        TUNED: f"the same with `jit_compile=True`, `steps_per_execution={best}`, the best "
        f"of {', '.join(result['tuning'])}",
    }
    spread = report.spread
    speeds = [[name, how[name], *spread(rate, ",.0f")] for name, rate in result["steps_per_second"].items()]
    ratios = [
        [f"{ratio['of']} / {ratio['to']}", *spread(ratio, ".2f"), ratio["asked"] or ""] for ratio in result["ratios"]
    ]
    share, efficiency = result["share_of_peak"], evaluation["flop_per_second_to_training"]
    ratios += [["share of the matrix-product peak, this loop", *spread(share, ".1%"), f"{share['asked']:.0%}"]]
    if efficiency is not None:
        label = "evaluation's FLOP/s / training's, this loop"
        ratios += [[label, *spread(efficiency, ".2f"), efficiency["asked"]]]
    peak, speed = (_giga(result[name]) for name in ("peak_flop_per_second", "training_flop_per_second"))
    tuning = [[number, *spread(rate, ",.0f")] for number, rate in result["tuning"].items()]
    columns = ["median", "min - max"]
    return "\n".join(
        [
            "# Training speed",
            "",
            f"LeNet-300-100, batches of {settings['batch_size']}, Adam, on {result['data']}. {settings['rounds']} "
            f"rounds in one process; in each, every contender takes a turn of {settings['steps']:,} steps "
            f"from the same weights, compiled before; Keras fit does it in {settings['epochs']} epochs."
            f" Each turn ends when its loss is read.",
            "",
            report.table(["steps/s", "how", *columns], speeds),
            "",
            "Ratios are taken within a round.",
            "",
            report.table(["ratio", *columns, "asked: at least"], ratios),
            "",
            f"The peak is a float32 product of two {settings['matrix_size']} x {settings['matrix_size']} matrices "
            f"through TensorFlow, measured between the turns: {peak}. A training step is "
            f"{result['step_flop'] / 1e6:.1f} MFLOP, worked out from the layers' sizes, so this loop trains "
            f"at {speed}.",
            "",
            _evaluations(evaluation),
            "",
            "Keras fit, tuned before the rounds:",
            "",
            report.table(["steps_per_execution", "steps/s", "min - max"], tuning),
            "",
            report.about(result),
            "",
        ]
    )


def _giga(speed: dict[str, Any]) -> str:
    median, low_high = report.spread({key: speed[key] / 1e9 for key in ("median", "min", "max")}, ",.0f")
    return f"{median} GFLOP/s ({low_high})"


def _evaluations(evaluation: dict[str, Any]) -> str:
    time, low_high = report.spread(evaluation["share_of_time"], ".1%")
    speed = evaluation["flop_per_second"]
    return (
        f"Evaluations are {evaluation['share_of_flop']:.1%} of the FLOPs of the loop with evaluations and {time} "
        f"({low_high}) of its time: what it takes longer than the loop without, at "
        f"{'a speed that is lost in noise' if speed is None else _giga(speed)}."
    )


def main(arguments: Sequence[str] | None = None, load: Callable[[], Splits] = mnist_or_random) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.training_speed", args=arguments)
    result = {**report.header("training_speed"), **measure(config, load())}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
