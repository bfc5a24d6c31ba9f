"""The command in a process of its own: no signal loses more than a level."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lth_keras.storage import open_run
from tests import tiny

ROOT = Path(__file__).parents[2]


ARGUMENTS = "--trials 1 --levels 2 --steps 60 --evaluate-every 20 --test-every 20".split()
# The command itself, with something done as soon as a level's first steps are done.
HOOKED = """
import os, runpy, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
from lth_keras.system.progress import ConsoleReporter
advanced = ConsoleReporter.advanced

def hooked(self, task, done, steps):
    advanced(self, task, done, steps)
    if task.level == {level} and 0 < done < steps:
        ConsoleReporter.advanced = advanced
        {action}

ConsoleReporter.advanced = hooked
runpy.run_module("experiments.digits_lenet_fcn", run_name="__main__", alter_sys=True)
"""
SIGNAL_SOON = "threading.Timer(0.2, os.kill, (os.getpid(), signal.{name})).start()"


def digits(out: Path, *arguments: str, hook: str | None = None) -> subprocess.CompletedProcess[str]:
    program = ["-m", "experiments.digits_lenet_fcn"] if hook is None else ["-c", hook]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *program, *arguments, "--out", str(out)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_killed_in_a_level_and_run_again_nothing_differs(tmp_path: Path) -> None:
    whole = digits(tmp_path / "whole", *ARGUMENTS)
    assert whole.returncode == 0, whole.stderr
    hook = HOOKED.format(level=1, action="os.kill(os.getpid(), signal.SIGKILL)")
    killed = digits(tmp_path / "killed", *ARGUMENTS, hook=hook)
    assert killed.returncode == -signal.SIGKILL
    (run,) = (tmp_path / "killed").iterdir()
    assert [path.name for path in run.rglob("level_*.h5")] == ["level_00.h5"]
    resumed = digits(tmp_path / "killed", *ARGUMENTS)
    assert resumed.returncode == 0, resumed.stderr
    assert "6 of 7 trainings to do" in resumed.stderr and "trial 0, dense" not in resumed.stderr
    tiny.assert_same_numbers(open_run(run), open_run(tmp_path / "whole" / run.name))
    lines = whole.stdout.splitlines()
    assert any(line.startswith("winning_ticket") for line in lines)
    assert f"wrote {tmp_path / 'whole' / run.name / 'run.h5'}" in lines
    for line in lines:
        if line.startswith("wrote "):
            assert Path(line.removeprefix("wrote ")).stat().st_size > 0


@pytest.mark.parametrize("name", [pytest.param("SIGINT", marks=pytest.mark.slow), "SIGTERM"])
def test_a_signal_stops_a_training_and_says_how_to_resume(tmp_path: Path, name: str) -> None:
    """Sent while the compiled program runs, in a level that would take days."""
    out = tmp_path / "with space"
    stopped = digits(out, "--steps", "1000000000", hook=HOOKED.format(level=0, action=SIGNAL_SOON.format(name=name)))
    assert stopped.returncode == 128 + signal.Signals[name]
    assert "Traceback" not in stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    assert last == (
        "Stopped. No level was finished; begin again with: python -m experiments.digits_lenet_fcn --steps 1000000000 "
        f"--out '{out}'"
    )
