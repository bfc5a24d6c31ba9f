"""Would levels be cheaper without units and inputs that pruning has cut off? What it could save, and what it costs."""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from benchmarks import report
from benchmarks.contenders import Contender, take_turns
from benchmarks.flop import training_flop
from benchmarks.lenet import BATCH_SIZE, EVALUATE_EVERY, LOSS, TEST_EVERY, mnist_or_random, optimizer
from benchmarks.processes import Stage
from datasets.splits import Split, Splits
from lth_keras import Network
from lth_keras.backends import set_threads
from lth_keras.mask import Mask
from lth_keras.masking import living_units
from lth_keras.models import lenet_300_100
from lth_keras.storage.levels import read_level
from lth_keras.system.machine import usable_cpus

LEVELS = Path("results/mnist_lenet_fcn/levels.tar.xz")
LENGTHS = (20_000, 50_000)
"""Steps of a level, for which the time of a whole search is worked out."""
BRANCHES = ("winning_ticket", "random_mask")
"""Branches with masks of their own; random_reinit has the winning ticket's."""
FEW = (0.85, 0.65, 0.45, 0.25)
"""Instead of at every level, networks can be built anew where their share of the FLOPs falls below these."""


@dataclass(frozen=True)
class Config:
    """What a search on LeNet-300-100 would save if a level left out inputs and units without weights.

    From the masks of a real run: how many inputs and units live at each level. Networks of these sizes are trained with
    evaluations, as experiments do, and what each takes to build and compile is measured too, since every size needs a
    network of its own.
    """

    measured: tuple[int, ...] = (0, 15, 20, 25)
    """Levels whose sizes are timed; the others lie between them by their FLOPs."""
    steps: int = 1000
    """Optimiser updates per turn."""
    rounds: int = 5
    """Rounds in which every size takes its turn."""
    seed: int = 0
    """Trial whose masks are used."""
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    """Keras backend."""
    levels: Path = LEVELS
    """Packed level files of the run."""
    out: Path = report.OUT
    """Directory for dead_units.json and dead_units.md."""


def living(mask: Mask) -> list[int]:
    """Inputs, units of each layer and outputs that are on a way from an input to an output; all outputs count.

    A unit without weights to it gives nothing, as its bias starts at zero and gets no gradient there; one without
    weights from it is not heard.

    Args:
        mask: of dense layers one behind the other, in their order.
    """
    kernels = list(mask.values())
    silent = [np.zeros(kernel.shape[1], bool) for kernel in kernels]
    return [int(units.sum()) for units in living_units(kernels, silent)]


def sizes_of(archive: Path, seed: int) -> dict[str, dict[int, list[int]]]:
    """The living sizes of a trial's winning tickets and of its random masks, by level."""
    found: dict[str, dict[int, list[int]]] = {branch: {} for branch in BRANCHES}
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
        for path in sorted(Path(folder).rglob(f"seed_{seed}/*/level_*.h5")):
            for branch in BRANCHES if path.parent.name == "dense" else {path.parent.name} & set(BRANCHES):
                level = read_level(path)
                found[branch][level.level] = living(level.mask)
    return {branch: dict(sorted(sizes.items())) for branch, sizes in found.items()}


def trained(splits: Splits, sizes: Sequence[int], steps: int) -> Contender:
    """The loop, evaluations included, on a network of these sizes."""
    inputs, *hidden, classes = sizes
    network = Network(
        lambda: lenet_300_100((inputs,), classes, hidden),
        optimizer=optimizer,
        loss=LOSS,
        batch_size=BATCH_SIZE,
        evaluate_every=EVALUATE_EVERY,
        test_every=TEST_EVERY,
    )
    parts = {name: getattr(splits, name) for name in ("train", "validation", "test")}
    network.load({name: Split(np.ascontiguousarray(part.x[:, :inputs]), part.y) for name, part in parts.items()})
    start = dict(network.draw_weights(0))

    def restore() -> None:
        network.weights = start

    return Contender(restore, lambda: float(network.train(steps, seed=0).train_loss[-1]))


def measure(config: Config, load: Callable[[], Splits] = mnist_or_random) -> dict[str, Any]:
    """The result, as JSON values."""
    sizes = sizes_of(config.levels, config.seed)
    flop = {
        branch: {n: training_flop(list(zip(each, each[1:], strict=False)), BATCH_SIZE) for n, each in levels.items()}
        for branch, levels in sizes.items()
    }
    tickets = sizes["winning_ticket"]
    contenders, first = {}, {}
    with Stage(config.backend, load) as stage:
        stage.call(set_threads, usable_cpus())
        for level in config.measured:
            started = time.perf_counter()
            contender = stage.contender(trained, tickets[level], config.steps)
            contender.restore()
            contender.run()
            first[level] = time.perf_counter() - started
            contenders[str(level)] = contender
        seconds = {int(level): np.array(each) for level, each in take_turns(contenders, config.rounds).items()}
    return {
        "settings": {"steps": config.steps, "rounds": config.rounds, "seed": config.seed, "backend": config.backend},
        "sizes": sizes,
        **work_out(flop, seconds, first, config.steps),
    }


def work_out(
    flop: dict[str, dict[int, int]], seconds: dict[int, np.ndarray], first: dict[int, float], steps: int
) -> dict[str, Any]:
    """What a search of all levels takes with whole networks and with living ones.

    Args:
        flop: of a step, by branch and level.
        seconds: of a turn in each round, by measured level, level 0 among them.
        first: of the turn before the rounds, building and compiling included.
        steps: of a turn.
    """
    medians = {level: float(np.median(each)) for level, each in seconds.items()}
    ticket = flop["winning_ticket"]
    known = sorted(medians, key=lambda level: ticket[level])
    step = {
        branch: {
            level: float(np.interp(each, [ticket[n] for n in known], [medians[n] / steps for n in known]))
            for level, each in levels.items()
        }
        for branch, levels in flop.items()
    }
    # The first of a process also starts its backend.
    build = float(np.median([first[level] - medians[level] for level in list(first)[1:]]))
    searches: dict[int, dict[str, Any]] = {length: {} for length in LENGTHS}
    for way, levels_of in WAYS.items():
        at = {branch: [0, *levels_of(levels)] for branch, levels in flop.items()}
        # At a level trains the network that was last built.
        sums = {b: sum(step[b][max(n for n in at[b] if n <= level)] for level in flop[b]) for b in flop}
        builds = {branch: len(levels) - 1 for branch, levels in at.items()}
        for length in LENGTHS:
            one, other = (length * sums[branch] + build * builds[branch] for branch in BRANCHES)
            searches[length][way] = {
                "one": one,
                "three": one + length * sums[BRANCHES[0]] + other,
                "builds": [builds["winning_ticket"], sum(builds.values())],
            }
    return {
        "flop": flop,
        "measured": {
            level: {
                "steps_per_second": report.summary(steps / each),
                "times_level_0": report.summary(seconds[0] / each),
                "flop_share": ticket[level] / ticket[0],
            }
            for level, each in seconds.items()
        },
        "seconds_to_build": build,
        "searches": searches,
    }


def few(flop: dict[int, int]) -> list[int]:
    """The first levels whose share of the FLOPs is below each of `FEW`."""
    found = [next((level for level in flop if flop[level] < share * flop[0]), None) for share in FEW]
    return sorted({level for level in found if level is not None})


WAYS: dict[str, Callable[[dict[int, int]], list[int]]] = {
    "never": lambda flop: [],
    "a few times": few,
    "at every level": lambda flop: [level for level in flop if flop[level] < flop[0]],
}
"""Levels at which a network is built anew, from the FLOPs of a step by level."""


def markdown(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [
        [
            level,
            " - ".join(map(str, result["sizes"]["winning_ticket"][level])),
            f"{each['flop_share']:.0%}",
            *report.spread(each["steps_per_second"], ",.0f"),
            *report.spread(each["times_level_0"], ".2f"),
        ]
        for level, each in result["measured"].items()
    ]
    searches = []
    for length, ways in result["searches"].items():
        for way, each in ways.items():
            faster = [f"{ways['never'][name] / each[name]:.2f}" for name in ("one", "three")]
            seconds = [f"{each[name]:,.0f}" for name in ("one", "three")]
            searches.append(
                [f"{int(length):,}, built anew {way}", " and ".join(map(str, each["builds"])), *seconds, *faster]
            )
    settings = result["settings"]
    shares = [sum(levels.values()) / (len(levels) * levels["0"]) for levels in result["flop"].values()]
    return "\n".join(
        [
            "# Levels without dead units",
            "",
            f"Inputs and units of LeNet-300-100 that are alive in the winning tickets of trial {settings['seed']} of "
            "results/mnist_lenet_fcn, and the speed of networks of these sizes on "
            f"{report.NAMES[settings['backend']]}, evaluations included: {settings['rounds']} rounds of turns of "
            f"{settings['steps']:,} steps.",
            "",
            report.table(["level", "alive", "FLOP", "steps/s", "min - max", "as fast as level 0", "min - max"], rows),
            "",
            f"Over {len(result['sizes']['winning_ticket'])} levels living networks have {shares[0]:.0%} of the FLOPs; "
            f"those of random masks {shares[1]:.0%}. A new one takes {result['seconds_to_build']:.1f} s to build and "
            "compile. So a search's training takes, in seconds, for the winning ticket alone, and with random_reinit, "
            "which shares its networks, and random_mask, which has its own:",
            "",
            report.table(
                ["steps a level", "builds", "ticket", "three branches", "ticket as fast", "three as fast"], searches
            ),
            "",
            report.about(result),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None, load: Callable[[], Splits] = mnist_or_random) -> None:
    """Measures, prints and writes."""
    config = tyro.cli(Config, prog="python -m benchmarks.dead_units", args=arguments)
    result = {**report.header("dead_units"), **measure(config, load)}
    print(report.write(result, markdown, config.out))


if __name__ == "__main__":
    main()
