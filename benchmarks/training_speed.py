"""Training speed on LeNet-300-100: this library's loops beside Keras fit and hand-tuned PyTorch, taking turns."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from benchmarks import report
from benchmarks.contenders import (
    Contender,
    Turn,
    fit,
    hand_tuned,
    loop,
    plain_model,
    pytorch_ways,
    take_turns,
    unevaluated,
)
from benchmarks.flop import dense_sizes, evaluated_examples, forward_flop, training_flop
from benchmarks.lenet import BATCH_SIZE, EVALUATE_EVERY, TEST_EVERY, mnist_or_random
from benchmarks.machine import MatrixProduct
from benchmarks.processes import Stage
from datasets.splits import Splits

LOOPS = {
    "this loop, TensorFlow": ("tensorflow", False),
    "this loop, JAX": ("jax", False),
    "fused kernel, TensorFlow": ("tensorflow", True),
    "fused kernel, JAX": ("jax", True),
}
"""This library's loops: the Keras backend, and whether the fused kernel takes its place in training."""
FIT, TUNED, PYTORCH = "Keras fit", "best-tuned Keras fit", "hand-tuned PyTorch"
PEERS = (FIT, TUNED, PYTORCH)
"""What this library's loops are compared with."""
_ASKED = {"tensorflow": {FIT: 6.0, TUNED: 2.2, PYTORCH: 2.5}, "jax": {FIT: 4.0}}
ASKED = {name: _ASKED[backend] for name, (backend, _) in LOOPS.items()}
"""The ratio to each that is asked of them."""
ASKED_SHARE = 0.5
"""What is asked of a loop's share of the machine's matrix-product peak."""
EXTRAS = {"jax": "jax", "torch": "bench"}
"""Backends besides TensorFlow, and the extra of setup.cfg that each comes with."""


def evaluated(name: str) -> str:
    """The contender that also evaluates, beside the loop of this name."""
    return f"{name}, with evaluations"


@dataclass(frozen=True)
class Config:
    """Steps per second of LeNet-300-100 with batches of 60: this library's loops, Keras fit and PyTorch, taking turns.

    On MNIST where it is there, else on random data of its shape. JAX and PyTorch take part where they are installed
    (extras `jax` and `bench`). About eight minutes on two idle cores.
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
    backends: tuple[Literal["jax", "torch"], ...] = ("jax", "torch")
    """What takes part beside Keras on TensorFlow, where it is installed."""

    def __post_init__(self) -> None:
        for name in ("rounds", "steps", "matrix_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} to be at least 1. Received: {getattr(self, name)}.")
        if not self.steps_per_execution or min(self.steps_per_execution) < 1:
            raise ValueError(
                f"Expected steps_per_execution to be one or more numbers from 1. Received: {self.steps_per_execution}."
            )


def left_out(config: Config) -> dict[str, str]:
    """Backends that are asked for and not installed, and why, for people."""
    return {
        name: f"{report.NAMES[name]} is not installed and takes no part: pip install -e '.[{extra}]'"
        for name, extra in EXTRAS.items()
        if name in config.backends and importlib.util.find_spec(name) is None
    }


def tune(contenders: Mapping[str, Contender], steps: int) -> tuple[str, dict[str, Any]]:
    """The fastest of several ways, by the median of three turns.

    Returns:
        The fastest, and steps per second of each.
    """
    seconds = take_turns(contenders, rounds=3)
    rates = {name: report.summary(steps / np.array(each)) for name, each in seconds.items()}
    return max(rates, key=lambda name: float(rates[name]["median"])), rates


def measure(config: Config, load: Callable[[], Splits]) -> dict[str, Any]:
    """The result, as JSON values.

    Args:
        config: the settings.
        load: the data; importable, as each backend has a process of its own.
    """
    missing = left_out(config)
    for reason in missing.values():
        print(reason, flush=True)
    splits = load()
    examples = [len(getattr(splits, name).x) for name in ("train", "validation", "test")]
    turn = Turn.of(config.steps, examples[0])
    with ExitStack() as stages:
        stage = {
            name: stages.enter_context(Stage(name, load))
            for name in ("tensorflow", *config.backends)
            if name not in missing
        }
        fits = {
            str(number): stage["tensorflow"].contender(fit, turn, jit_compile=True, steps_per_execution=number)
            for number in config.steps_per_execution
        }
        best, tuning = tune(fits, turn.steps)
        contenders = {FIT: stage["tensorflow"].contender(fit, turn), TUNED: fits[best]}
        for name, (backend, fused) in LOOPS.items():
            if backend in stage:
                contenders[name] = stage[backend].contender(unevaluated, turn.steps, fused)
                every = (EVALUATE_EVERY, TEST_EVERY)
                contenders[evaluated(name)] = stage[backend].contender(loop, turn.steps, *every, fused)
        variant: str | None = None
        variants: dict[str, Any] = {}
        if "torch" in stage:
            variant, variants, contenders[PYTORCH] = _tuned_pytorch(stage["torch"], turn.steps)
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
            "steps_per_execution": int(best),
            "pytorch": variant,
        },
        "left_out": missing,
        "tuning": tuning,
        "pytorch_tuning": variants,
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


def _tuned_pytorch(stage: Stage, steps: int) -> tuple[str, dict[str, Any], Contender]:
    """The fastest of the ways to write it that run here, steps per second of each, and the fastest itself."""
    ways = {}
    for name in stage.call(pytorch_ways):
        way = stage.contender(hand_tuned, steps, name)
        try:
            way.restore()
            way.run()
        except RuntimeError as error:  # such as a compiler that is not there
            print(f"{PYTORCH}, {name}, takes no part: {error}", flush=True)
        else:
            ways[name] = way
    best, rates = tune(ways, steps)
    return best, rates, ways[best]


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
    rate = {name: steps / each for name, each in seconds.items()}
    loops = [name for name in LOOPS if name in seconds]
    ratios = [
        {"of": of, "to": to, "asked": ASKED.get(of, {}).get(to), **report.summary(rate[of] / rate[to])}
        for name in loops
        for of in (name, evaluated(name))
        for to in PEERS
        if to in rate
    ]
    for first, second in itertools.combinations(loops, 2):
        if [a == b for a, b in zip(LOOPS[first], LOOPS[second], strict=True)].count(False) == 1:
            ratios.append({"of": second, "to": first, "asked": None, **report.summary(rate[second] / rate[first])})
    return {
        "step_flop": step_flop,
        "evaluation_flop": evaluation_flop,
        "steps_per_second": {name: report.summary(each) for name, each in rate.items()},
        "ratios": ratios,
        "peak_flop_per_second": report.summary(peaks),
        "loops": {
            name: {
                "share_of_peak": {"asked": ASKED_SHARE, **report.summary(rate[name] * step_flop / peaks)},
                "flop_per_second": report.summary(rate[name] * step_flop),
                "evaluation": _evaluation(seconds[name], seconds[evaluated(name)], steps * step_flop, evaluation_flop),
            }
            for name in loops
        },
    }


def _evaluation(training: np.ndarray, both: np.ndarray, training_flop: int, evaluation_flop: int) -> dict[str, Any]:
    """What evaluations take: both train the same steps, so it is what one takes longer than the other."""
    evaluating = both - training
    speed = evaluation_flop / evaluating if np.all(evaluating > 0) else None
    return {
        "share_of_time": report.summary(evaluating / both),
        "share_of_flop": evaluation_flop / (evaluation_flop + training_flop),
        "flop_per_second": None if speed is None else report.summary(speed),
        "flop_per_second_to_training": None
        if speed is None
        else {"asked": 1.0, **report.summary(speed / (training_flop / training))},
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    settings = result["settings"]
    how = {
        FIT: f"`compile(adam, loss)`, `fit(x, y, batch_size={settings['batch_size']}, verbose=0)` on TensorFlow; "
        f"Keras' default is `jit_compile={settings['fit_jit_compile']}` here",
        TUNED: f"the same with `jit_compile=True`, `steps_per_execution={settings['steps_per_execution']}`, the best "
        f"of {', '.join(result['tuning'])}",
        PYTORCH: f"resident tensors, masked gradients: {settings['pytorch']}, the best of "
        f"{', '.join(result['pytorch_tuning'])} (`benchmarks/torch_loop.py`)",
    }
    for name, (_, fused) in LOOPS.items():
        how[name] = f"`Network.train`, masked layers{', `fused=True`' if fused else ''}, training only"
        how[evaluated(name)] = (
            f"the same with an evaluation on {settings['examples'][1]:,} examples every "
            f"{settings['evaluate_every']} steps and on {settings['examples'][2]:,} every "
            f"{settings['test_every']}, as experiments use it"
        )
    spread = report.spread
    speeds = [[name, how[name], *spread(rate, ",.0f")] for name, rate in result["steps_per_second"].items()]
    ratios = [
        [f"{ratio['of']} / {ratio['to']}", *spread(ratio, ".2f"), ratio["asked"] or ""] for ratio in result["ratios"]
    ]
    for name, loop_ in result["loops"].items():
        share, efficiency = loop_["share_of_peak"], loop_["evaluation"]["flop_per_second_to_training"]
        ratios.append([f"share of the matrix-product peak, {name}", *spread(share, ".1%"), f"{share['asked']:.0%}"])
        if efficiency is not None:
            label = f"evaluation's FLOP/s / training's, {name}"
            ratios.append([label, *spread(efficiency, ".2f"), efficiency["asked"]])
    columns = ["median", "min - max"]
    tried = {f"Keras fit, steps_per_execution={number}": rate for number, rate in result["tuning"].items()}
    tried |= {f"PyTorch, {way}": rate for way, rate in result["pytorch_tuning"].items()}
    tuning = [[way, *spread(rate, ",.0f")] for way, rate in tried.items()]
    speed = ", ".join(f"{name} at {_giga(each['flop_per_second'])}" for name, each in result["loops"].items())
    return "\n".join(
        [
            "# Training speed",
            "",
            f"LeNet-300-100, batches of {settings['batch_size']}, Adam, on {result['data']}. {settings['rounds']} "
            f"rounds; in each, every contender takes a turn of {settings['steps']:,} steps "
            f"from the same weights, compiled before; Keras fit does it in {settings['epochs']} epochs. "
            f"Each turn ends when its loss is read. TensorFlow, JAX and PyTorch have a process each, which waits while "
            f"the others take their turns.",
            "",
            report.table(["steps/s", "how", *columns], speeds),
            "",
            *[f"{reason}.\n" for reason in result["left_out"].values()],
            "Ratios are taken within a round.",
            "",
            report.table(["ratio", *columns, "asked: at least"], ratios),
            "",
            f"The peak is a float32 product of two {settings['matrix_size']} x {settings['matrix_size']} matrices "
            f"through TensorFlow, measured between the turns: {_giga(result['peak_flop_per_second'])}. A training step "
            f"is {result['step_flop'] / 1e6:.1f} MFLOP, worked out from the layers' sizes, so training runs: {speed}.",
            "",
            *[_evaluations(name, each["evaluation"]) for name, each in result["loops"].items()],
            "What was tried before the rounds:",
            "",
            report.table(["way", "steps/s", "min - max"], tuning),
            "",
            report.about(result),
            "",
        ]
    )


def _giga(speed: dict[str, Any]) -> str:
    median, low_high = report.spread({key: speed[key] / 1e9 for key in ("median", "min", "max")}, ",.0f")
    return f"{median} GFLOP/s ({low_high})"


def _evaluations(name: str, evaluation: dict[str, Any]) -> str:
    time, low_high = report.spread(evaluation["share_of_time"], ".1%")
    speed = evaluation["flop_per_second"]
    return (
        f"Evaluations are {evaluation['share_of_flop']:.1%} of the FLOPs of {evaluated(name)}, and {time} ({low_high}) "
        f"of its time: what it takes longer than the loop without, at "
        f"{'a speed that is lost in noise' if speed is None else _giga(speed)}.\n"
    )


def main(arguments: Sequence[str] | None = None, load: Callable[[], Splits] = mnist_or_random) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.training_speed", args=arguments)
    result = {**report.header("training_speed"), **measure(config, load)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
