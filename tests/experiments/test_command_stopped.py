"""The command in a process of its own: a signal ends it, and it says how to resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# The command itself, with a signal soon after a level's first steps are done.
HOOKED = """
import os, runpy, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
from lth_keras.system.progress import ConsoleReporter
advanced = ConsoleReporter.advanced

def hooked(self, task, done, steps):
    advanced(self, task, done, steps)
    if 0 < done < steps:
        ConsoleReporter.advanced = advanced
        threading.Timer(0.2, os.kill, (os.getpid(), signal.{name})).start()

ConsoleReporter.advanced = hooked
runpy.run_module("experiments.digits_lenet_fcn", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_stops_a_training_and_says_how_to_resume(tmp_path: Path, name: str) -> None:
    """Sent while the compiled program runs, in a level that would take days."""
    out = tmp_path / "with space"
    command = [sys.executable, "-c", HOOKED.format(name=name), "--steps", "1000000000", "--out", str(out)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    stopped = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert stopped.returncode == 128 + signal.Signals[name]
    assert "Traceback" not in stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    assert last == (
        "Stopped. No level was finished; begin again with: python -m experiments.digits_lenet_fcn --steps 1000000000 "
        f"--out '{out}'"
    )
