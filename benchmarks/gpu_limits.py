"""Steps per second of the papers' networks on JAX, and their share of what the device could do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tyro

from benchmarks import report
from benchmarks.contenders import Contender, take_turns
from benchmarks.flop import ROWS_IN_USE, StepCost, step_cost
from benchmarks.lenet import BATCH_SIZE, LOSS
from benchmarks.processes import Stage
from lth_keras import Network
from lth_keras.backends import device
from lth_keras.models import conv_6, lenet_300_100, newsgroups_end2end, vgg
from lth_keras.training.together import Member, Together

STEPS = {"LeNet-300-100": 20_000, "Conv-6": 2_000, "Newsgroups-End2End": 200}
"""Steps of a turn, by network."""
EXAMPLES = 6_000


@dataclass(frozen=True)
class Config:
    """Steps per second of LeNet-300-100, Conv-6 and Newsgroups-End2End, batches of 60, on JAX, on random data.

    Beside the least time of a step: its products at the device's speed of large matrix products, or its bytes at the
    speed of its memory, whichever is longer.
    """

    tickets: tuple[int, ...] = (1, 5)
    """How many are trained together as one program, where the network is not trained by rows."""
    networks: tuple[str, ...] = tuple(STEPS)
    """Which networks."""
    steps: int | None = None
    """Optimiser updates of a turn. Default: by network, seconds on a GPU."""
    rounds: int = 5
    """Rounds in which each takes its turn."""
    small: bool = False
    """Small networks and matrices, to try the benchmark out."""
    out: Path = report.OUT
    """Directory for gpu_limits.json and gpu_limits.md."""


def model(name: str, small: bool) -> keras.Model:
    """The network of this name."""
    if name == "LeNet-300-100":
        return lenet_300_100(hidden=(4,)) if small else lenet_300_100()
    if name == "Conv-6":
        return vgg((2,), (4,)) if small else conv_6()
    return newsgroups_end2end(50, dimension=4) if small else newsgroups_end2end()


def arrays(name: str, small: bool) -> tuple[np.ndarray, np.ndarray]:
    """Random examples and labels."""
    generator, n = np.random.default_rng(0), 120 if small else EXAMPLES
    if name == "Newsgroups-End2End":
        words = 50 if small else 61_188
        documents = np.minimum(generator.zipf(1.25, (n, 200)), words - 1).astype(np.int32)
        return documents, generator.integers(20, size=n)
    shape = (784,) if name == "LeNet-300-100" else (32, 32, 3)
    return generator.random((n, *shape), np.float32), generator.integers(10, size=n, dtype=np.int32)


def network_steps(_: Any, name: str, tickets: int, steps: int, small: bool) -> Contender:
    """A contender that trains so many tickets of a network."""
    x, y = arrays(name, small)
    network = Network(
        lambda: model(name, small),
        optimizer=keras.optimizers.Adam,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=steps,
        test_every=steps,
    )
    data = {"train": (x, y), "validation": (x[:1], y[:1]), "test": (x[:1], y[:1])}
    if tickets == 1:
        network.load(data)
        return Contender(lambda: None, lambda: float(network.train(steps, seed=0).train_loss[-1]))
    program = Together(network, tickets)
    program.load(dict.fromkeys(range(tickets), network.checked(data)))
    members = [Member(dict(network.draw_weights(seed)), network.mask, seed, ()) for seed in range(tickets)]

    def run() -> float:
        results = program.train(members, steps)
        errors = [result for result in results if isinstance(result, ArithmeticError)]
        return float("nan") if errors else float(results[0].curves.train_loss[-1])  # type: ignore[union-attr]

    return Contender(lambda: None, run)


def cost(name: str, small: bool) -> StepCost:
    """What a step of one ticket needs."""
    return step_cost(model(name, small), BATCH_SIZE, ROWS_IN_USE if name == "Newsgroups-End2End" else None)


def limits(size: int) -> dict[str, float]:
    """The device's speeds: `flop_per_second` of a float32 matrix product as JAX makes it, `bytes_per_second` of a copy.

    Args:
        size: rows and columns of the matrices.
    """
    import jax
    import jax.numpy as jnp

    left = jnp.ones((size, size), jnp.float32)
    long = jnp.ones(size * size * 4, jnp.float32)
    product, copy = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1)

    def seconds(function: Callable[..., Any], *arguments: Any) -> float:
        taken = []
        for _ in range(6):
            started = time.perf_counter()
            for _ in range(10):
                result = function(*arguments)
            result.block_until_ready()
            taken.append((time.perf_counter() - started) / 10)
        return float(np.median(taken[1:]))

    return {
        "flop_per_second": 2 * size**3 / seconds(product, left, left),
        "bytes_per_second": 2 * long.nbytes / seconds(copy, long),
    }


def peak_device_bytes() -> int | None:
    """The most memory of the device that this process has used; None on a CPU."""
    import jax

    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def measure(config: Config) -> dict[str, Any]:
    """The result, as JSON values; each network has a process of its own."""
    found: dict[str, Any] = {}
    with Stage("jax", dict) as stage:
        kind, _ = stage.call(device)
        limit = stage.call(limits, 128 if config.small else 8192 if kind != "cpu" else 2048)
    for name in config.networks:
        steps = config.steps or STEPS[name]
        with Stage("jax", dict) as stage:
            needed = stage.call(cost, name, config.small)
            widths = config.tickets if name != "Newsgroups-End2End" else (1,)
            make = partial(stage.contender, network_steps, name)
            seconds = take_turns({str(n): make(n, steps, config.small) for n in widths}, config.rounds)
            peak = stage.call(peak_device_bytes)
        for tickets, each in ((int(n), np.array(turns)) for n, turns in seconds.items()):
            least = tickets * needed.seconds(limit["flop_per_second"], limit["bytes_per_second"])
            found[f"{name}, {tickets} together" if tickets > 1 else name] = {
                "tickets": tickets,
                "steps": steps,
                "steps_per_second_of_each": report.summary(steps / each),
                "share_of_limit": report.summary(least * steps / each),
                "bound_by": _bound(needed, limit),
            }
        found[name]["peak_device_bytes"] = peak
        print(f"{name}: {found[name]['steps_per_second_of_each']['median']:,.1f} steps/s", flush=True)
    return {
        "settings": {"rounds": config.rounds, "small": config.small, "device": kind},
        "limits": limit,
        "networks": found,
    }


def _bound(needed: StepCost, limit: Mapping[str, float]) -> str:
    products = needed.flop / limit["flop_per_second"]
    return "products" if products >= needed.bytes / limit["bytes_per_second"] else "memory"


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    limit, spread = result["limits"], report.spread
    rows = [
        [name, *spread(way["steps_per_second_of_each"], ",.1f"), *spread(way["share_of_limit"], ".1%"), way["bound_by"]]
        for name, way in result["networks"].items()
    ]
    peaks = [
        f"{name} {way['peak_device_bytes'] / 1e9:.1f} GB"
        for name, way in result["networks"].items()
        if way.get("peak_device_bytes")
    ]
    return "\n".join(
        [
            "# Speed of the papers' networks on JAX",
            "",
            f"Batches of {BATCH_SIZE}, Adam, masked layers, random data, on a {result['settings']['device'].upper()}, "
            f"{'small networks, ' if result['settings']['small'] else ''}{result['settings']['rounds']} rounds. The "
            "limit is the least time of a step: its products (`benchmarks/flop.py`) at the speed of a large float32 "
            f"product, {limit['flop_per_second'] / 1e12:.3g} TFLOP/s, or its bytes at the speed of a copy, "
            f"{limit['bytes_per_second'] / 1e9:,.0f} GB/s, both measured before; of several tickets, that of each.",
            "",
            report.table(
                ["network", "steps/s of each", "min - max", "share of the limit", "min - max", "limited by"], rows
            ),
            "",
            *(
                [f"Most memory of the device in use, all rows of a network in one process: {', '.join(peaks)}.", ""]
                * bool(peaks)
            ),
            report.about(result),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.gpu_limits", args=arguments)
    result = {**report.header("gpu_limits"), **measure(config)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
