"""Everything that waits for a GPU, in order of its value: `make gpu`, `python -m benchmarks.gpu --list`.

Needs JAX and the packed data (LTH_DATA_DIR), neither TensorFlow nor a network. Every step can be interrupted and taken
up again: what is finished has a file, and a search goes on from its level files.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from benchmarks import machine, report
from benchmarks.processes import environment

ROOT = Path(__file__).resolve().parents[1]
GRACE = 60
"""Seconds that a search has to write what it has, after it was told to stop."""
LEAST = 30
"""Seconds that must be left to begin a step."""
PACKED_BYTES = 64_000_000
"""Level files are packed beside the results up to so much."""


@dataclass(frozen=True)
class Config:
    """Runs what waits for a GPU, most valuable first, and stops cleanly before the time is over.

    A step that is finished is left alone; delete its JSON to repeat it. A search that was stopped goes on with the
    level after its last finished ones. What is to be kept is in --out: JSON, Markdown, and of each search run.h5 and
    its level files as <step>.tar.xz, from which it goes on where its directory is not there.
    """

    step: str | None = None
    """Only this step. Default: all that are not finished, in their order."""
    list: bool = False
    """List the steps and which are finished, and exit."""
    minutes: float | None = None
    """Stop before so many minutes are over. Default: no limit."""
    small: bool = False
    """Small sizes, to try the script out: on a CPU, within a minute or two. Searches run on scikit-learn's digits."""
    out: Path = report.OUT / "gpu"
    """Directory for results and for the directories of runs."""

    def __post_init__(self) -> None:
        if self.step is not None and self.step not in STEPS:
            raise ValueError(f"Expected step to be one of {', '.join(STEPS)}. Received: {self.step!r}.")


class Step(NamedTuple):
    """Something to run.

    Attributes:
        title: what it is, for people; a reduced protocol says so.
        command: (whether small, output directory) -> the arguments after `python -m`.
        search: whether it makes a run's directory.
    """

    title: str
    command: Callable[[bool, Path], list[str]]
    search: bool = False


def _benchmark(name: str, arguments: str, small: str) -> Callable[[bool, Path], list[str]]:
    return lambda is_small, out: [f"benchmarks.{name}", *(small if is_small else arguments).split(), "--out", str(out)]


def _search(experiment: str, arguments: str) -> Callable[[bool, Path], list[str]]:
    def command(small: bool, out: Path) -> list[str]:
        if small:
            name, chosen = (
                "digits_lenet_fcn",
                "--trials 2 --levels 1 --steps 20 --branches winning_ticket --vectorize 2",
            )
        else:
            name, chosen = experiment, arguments
        return [f"experiments.{name}", "--backend", "jax", *chosen.split(), "--out", str(out)]

    return command


ALL_BRANCHES = "--branches winning_ticket random_reinit random_mask"
STEPS = {
    "together": Step(
        "LeNet-300-100: steps/s of 1, 5, 10 and 50 tickets together, training only",
        _benchmark("together", "--tickets 1 5 10 50", "--tickets 1 2 --steps 4 --rounds 1"),
    ),
    "limits": Step(
        "LeNet-300-100, Conv-6 and Newsgroups-End2End: steps/s and share of the card's limit",
        _benchmark("gpu_limits", "", "--small --steps 2 --rounds 1"),
    ),
    "lenet": Step(
        "LeNet-300-100 on MNIST, the paper's whole figure: 5 trials, 3 branches, 25 levels of 50,000 steps",
        _search("mnist_lenet_fcn", f"--trials 5 --levels 25 --steps 50000 {ALL_BRANCHES}"),
        search=True,
    ),
    "together_evaluated": Step(
        "LeNet-300-100: the same speeds with the evaluations of experiments",
        _benchmark("together", "--tickets 1 5 10 50 --evaluations", "--tickets 1 2 --steps 4 --rounds 1 --evaluations"),
    ),
    "conv_6": Step(
        "Conv-6 on CIFAR-10, reduced: 2 trials instead of 5, 12 levels, winning ticket and random_reinit",
        _search(
            "cifar10_conv6",
            "--trials 2 --levels 12 --branches winning_ticket random_reinit",
        ),
        search=True,
    ),
    "newsgroups": Step(
        "Newsgroups-End2End on 20 Newsgroups, reduced: 2 trials, controls at levels 5 and 10",
        _search("newsgroups_end2end", "--trials 2 --control-levels 5 10 --no-fresh-graphs --vocabulary published"),
        search=True,
    ),
    "early_tickets": Step(
        "Early tickets in LeNet-300-100 on MNIST, all epochs 0 to 15: 10 trials, enough for verdicts",
        _search("mnist_early_tickets", "--trials 10"),
        search=True,
    ),
    "postmortem": Step(
        "The thesis' protocol on LeNet-300-100 and MNIST, all corrections and all causes alone: 10 trials",
        _search("thesis_postmortem", "--trials 10"),
        search=True,
    ),
    "composite": Step(
        "Criteria, schedules and composites in LeNet-300-100 on MNIST: the twenty before training, 10 trials",
        _search("composite_pruning", "--trials 10 --no-compact"),  # smaller networks train one by one
        search=True,
    ),
    "memory": Step(
        "Memory per level on the GPU and of its process",
        _benchmark(
            "memory",
            "--backends jax --ways lenet embeddings failures",
            "--backends jax --ways failures --short 5 --steps 1",
        ),
    ),
    "conv_4": Step(
        "Conv-4 on CIFAR-10, reduced: 1 trial instead of 5, 12 levels, winning ticket and random_reinit",
        _search(
            "cifar10_conv4",
            "--trials 1 --levels 12 --branches winning_ticket random_reinit",
        ),
        search=True,
    ),
    "conv_2": Step(
        "Conv-2 on CIFAR-10, reduced: 1 trial instead of 5, 12 levels, winning ticket and random_reinit",
        _search(
            "cifar10_conv2",
            "--trials 1 --levels 12 --branches winning_ticket random_reinit",
        ),
        search=True,
    ),
}
"""In order of their value."""


def listing(out: Path) -> str:
    """The steps, whether each is finished, and the command that runs it."""
    lines = []
    for name, step in STEPS.items():
        lines.append(f"{name:18} {'finished' if _record(out, name).exists() else 'to do':8}  {step.title}")
    return "\n".join([*lines, "", "one of them: python -m benchmarks.gpu --step NAME"])


def perform(name: str, config: Config, deadline: float) -> bool:
    """Runs a step until it is finished or the time is over; returns whether it is finished.

    Raises:
        RuntimeError: where it fails.
    """
    step, folder = STEPS[name], config.out / name
    if step.search:
        unpack(config.out / f"{name}.tar.xz", folder)
    command = step.command(config.small, folder)
    print(f"\n{name}: {step.title}\npython -m {shlex.join(command)}", flush=True)
    started = time.monotonic()
    status = run_until([sys.executable, "-m", *command], deadline)
    stopped = status is None or status == 130  # as an experiment ends that heard Ctrl-C
    if not stopped and status != 0:
        raise RuntimeError(f"The step {name} failed with exit code {status}; what it said is above.")
    if step.search:
        pack(folder, config.out / f"{name}.tar.xz")
    if stopped:
        print(f"{name}: stopped; the same command goes on with it.", flush=True)
        return False
    record = {
        "step": name,
        "title": step.title,
        "small": config.small,
        "command": "python -m " + shlex.join(command),
        "seconds_of_last_call": round(time.monotonic() - started, 1),
        "machine": machine.describe(),
    }
    _record(config.out, name).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return True


def run_until(command: Sequence[str], deadline: float) -> int | None:
    """Runs a command on JAX; at the deadline it is asked to stop, and ended where it does not.

    Args:
        command: program and arguments.
        deadline: by `time.monotonic`.

    Returns:
        Its exit status; None where it had to be stopped.
    """
    with environment({"KERAS_BACKEND": "jax"}):
        process = subprocess.Popen(command, cwd=ROOT)
    try:
        left = deadline - time.monotonic()
        return process.wait(None if left == float("inf") else max(0.0, left))
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as reason:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if isinstance(reason, KeyboardInterrupt):
            raise
        return None


def pack(folder: Path, archive: Path) -> None:
    """Packs a search's run directories, if they are not too large, and puts their run.h5 beside the archive."""
    files = [path for path in sorted(folder.glob("*/**/*.h5")) if path.is_file()]
    for path in folder.glob("*/run.h5"):
        (archive.parent / f"{_stem(archive)}.h5").write_bytes(path.read_bytes())
    size = sum(path.stat().st_size for path in files)
    if size > PACKED_BYTES:
        print(f"{folder}: {size / 1e6:.0f} MB of level files are not packed; keep the directory to go on with it.")
        return
    files += sorted(folder.glob("*/config.json"))
    beside = archive.with_name(archive.name + ".tmp")
    with tarfile.open(beside, "w:xz") as packed:
        for path in files:
            packed.add(path, path.relative_to(folder))
    os.replace(beside, archive)


def unpack(archive: Path, folder: Path) -> None:
    """Puts a search's run directories back where they are not there."""
    if archive.exists() and not folder.exists():
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")


def _stem(archive: Path) -> str:
    return archive.name.removesuffix(".tar.xz")


def _record(out: Path, name: str) -> Path:
    return out / f"{name}.done.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Lists or runs the steps; returns the exit status: 0, or 1 where a step failed."""
    config = tyro.cli(Config, prog="python -m benchmarks.gpu", args=arguments)
    if config.list:
        print(listing(config.out))
        return 0
    deadline = float("inf") if config.minutes is None else time.monotonic() + 60 * config.minutes
    config.out.mkdir(parents=True, exist_ok=True)
    failed: list[Any] = []
    for name in [config.step] if config.step else STEPS:
        if _record(config.out, name).exists():
            print(f"{name}: finished before", flush=True)
            continue
        if deadline - time.monotonic() < LEAST:
            print(f"{name}: not begun, the time is over", flush=True)
            break
        try:
            # It may take a while to stop, and the results are to be read after.
            perform(name, config, deadline - min(GRACE, 0.2 * 60 * (config.minutes or 0)))
        except RuntimeError as error:
            print(error, flush=True)
            failed.append(name)
    print(listing(config.out))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
