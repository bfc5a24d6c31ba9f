"""Signals at any moment of a command's life: none is lost, and the exit code says which it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lth_keras.system.interrupts import STOPPING
from tests.crash.conftest import BACKENDS
from tests.forks import Forks

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "experiments.digits_lenet_fcn", "--steps", "1000000000"]
READY = 300.0
"""Seconds in which a command has come to hear a signal even on a busy machine."""


@pytest.mark.parametrize(
    "number, moment, collecting",
    [(signal.SIGTERM, 0.1, True), (signal.SIGINT, 0.4, True), (signal.SIGHUP, 1.5, False)],
    ids=["starting", "building", "training"],
)
def test_a_signal_stops_a_command_wherever_it_is(
    forks: Forks, tmp_path: Path, number: int, moment: float, collecting: bool
) -> None:
    ended = forks.call(
        "tests.crash.victim:command",
        killed_after=120.0,
        out=tmp_path,
        number=int(number),
        moment=moment,
        collecting=collecting,
    )
    assert ended.code == 128 + number, ended.error


def stopped(out: Path, backend: str, number: int, moment: float) -> tuple[int, str]:
    """Exit code and errors of the command, sent a signal so many seconds after its start."""
    process = subprocess.Popen(
        [*COMMAND, "--backend", backend, "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_as_in_a_terminal,
    )
    time.sleep(moment)
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=READY)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
    return process.returncode, errors


def _as_in_a_terminal() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_signals_over_start_up_and_training_all_stop_the_command(tmp_path: Path, backend: str) -> None:
    """Before the command has its handlers, which Python's own start is most of, the system ends it by the signal."""
    generator = random.Random(0)
    kinds = [STOPPING[i % len(STOPPING)] for i in range(100)]
    moments = [generator.uniform(0.05, 16) for _ in kinds]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda i: stopped(tmp_path / str(i), backend, kinds[i], moments[i]), range(100)))
    wrong = [
        (signal.Signals(number).name, round(moment, 2), code, errors[-300:])
        for number, moment, (code, errors) in zip(kinds, moments, ended, strict=True)
        if code not in (128 + number, -number)
    ]
    assert wrong == []
    assert sum(code > 0 for code, _ in ended) > 50, "hardly any came once the command could hear it"
