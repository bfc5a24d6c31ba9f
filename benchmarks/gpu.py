"""Benchmarks and searches that need a GPU, in order of priority: `make gpu`, `python -m benchmarks gpu`.

Needs JAX and the packed data (LTH_DATA_DIR), but not TensorFlow or a network. Finished steps have a file and are
skipped. A stopped search resumes from its level files.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.harness import OUT, environment

GRACE = 60
"""Seconds that a command may use to save its results after it was told to stop."""
LEAST = 30
"""Least remaining seconds to begin a step."""
STOPPED = 130
"""Exit status of an experiment that was told to stop."""
ALL_BRANCHES = "--branches winning_ticket random_reinit random_mask"
TWO_BRANCHES = "--branches winning_ticket random_reinit"
STEPS = {
    "tickets": "benchmarks tickets",
    "networks": "benchmarks networks",
    "lenet": f"experiments.mnist_lenet_fcn --trials 5 --levels 25 --steps 50000 {ALL_BRANCHES}",
    "conv_6": f"experiments.cifar10_conv6 --trials 2 --levels 12 {TWO_BRANCHES}",
    "newsgroups": "experiments.newsgroups_end2end --trials 2 --control-levels 5 10 --no-fresh-graphs "
    "--vocabulary published",
    "early_tickets": "experiments.mnist_early_tickets --trials 10",
    "postmortem": "experiments.thesis_postmortem --trials 10",
    # Smaller networks are trained one by one.
    "composite": "experiments.composite_pruning --trials 10 --engine auto",
    "memory_levels": "benchmarks memory_levels",
    "conv_4": f"experiments.cifar10_conv4 --trials 1 --levels 12 {TWO_BRANCHES}",
    "conv_2": f"experiments.cifar10_conv2 --trials 1 --levels 12 {TWO_BRANCHES}",
}
"""Modules and arguments by priority; searches also get `--backend jax`."""


def command(step: str, out: Path) -> list[str]:
    """The arguments of a step after `python -m`."""
    module, *arguments = STEPS[step].split()
    backend = ["--backend", "jax"] if module.startswith("experiments.") else []
    return [module, *arguments, *backend, "--out", str(out / step)]


def listing(out: Path = OUT / "gpu") -> str:
    """The steps with their state and command."""
    return "\n".join(
        f"{step:14} {'finished' if record(out, step).exists() else 'to do':9} python -m {' '.join(command(step, out))}"
        for step in STEPS
    )


def record(out: Path, step: str) -> Path:
    """The file that marks a finished step; delete it to repeat the step."""
    return out / f"{step}.done.json"


def run(steps: Sequence[str] = tuple(STEPS), minutes: float | None = None, out: Path = OUT / "gpu") -> int:
    """Runs unfinished steps and stops before `minutes` are over; returns 1 if a step failed, else 0."""
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    grace = min(GRACE, 12 * (minutes or 0))
    out.mkdir(parents=True, exist_ok=True)
    failed = False
    for step in steps:
        if record(out, step).exists():
            print(f"{step}: finished before", flush=True)
            continue
        if deadline - time.monotonic() < LEAST:
            print(f"{step}: not begun, the time is over", flush=True)
            break
        arguments = command(step, out)
        print(f"{step}: python -m {shlex.join(arguments)}", flush=True)
        status = run_until([sys.executable, "-m", *arguments], deadline - grace)
        if status == 0:
            done = {"step": step, "command": shlex.join(["python", "-m", *arguments]), "machine": machine.describe()}
            record(out, step).write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
        else:
            stopped = status in (None, STOPPED)
            print(f"{step}: {'stopped; the same command goes on' if stopped else f'failed with exit code {status}'}")
            failed |= not stopped
    print(listing(out))
    return int(failed)


def run_until(arguments: Sequence[str], deadline: float) -> int | None:
    """Runs a command on JAX. At the deadline (`time.monotonic`) it is told to stop, and killed if it does not.

    Returns:
        Its exit status; None if it was stopped.
    """
    with environment({"KERAS_BACKEND": "jax"}):
        process = subprocess.Popen(arguments)
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
