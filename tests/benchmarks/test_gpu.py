"""What waits for a GPU is listed, run in its order, stopped in time and taken up again."""

import importlib
import re
import sys
import time
from pathlib import Path

import pytest
import tyro

from benchmarks import gpu
from benchmarks.cases import CASES


def python(code):
    return [sys.executable, "-c", code]


@pytest.fixture
def steps(monkeypatch):
    """Steps that are no commands but write where they are told to, or fail."""
    ran = []

    def run_until(arguments, deadline):
        ran.append(arguments[2:])
        return 1 if "experiments.reuters" in arguments else 0

    monkeypatch.setattr(gpu, "run_until", run_until)
    monkeypatch.setattr(gpu, "STEPS", {"speed": "benchmarks speed", "reuters": "experiments.reuters --trials 1"})
    return ran


def test_what_is_finished_is_left_alone_and_what_failed_is_not(steps, tmp_path, capsys):
    assert gpu.run(["speed", "reuters"], out=tmp_path) == 1
    assert steps == [
        ["benchmarks", "speed", "--out", str(tmp_path / "speed")],
        ["experiments.reuters", "--trials", "1", "--backend", "jax", "--out", str(tmp_path / "reuters")],
    ]
    assert gpu.run(["speed", "reuters"], out=tmp_path) == 1 and len(steps) == 3
    told = capsys.readouterr().out
    assert "speed: finished before" in told and "reuters: failed with exit code 1" in told


def test_nothing_is_begun_when_the_time_is_over(steps, tmp_path, capsys):
    assert gpu.run(["speed"], minutes=0.1, out=tmp_path) == 0
    assert steps == [] and "not begun" in capsys.readouterr().out


def test_a_command_is_told_to_stop_at_the_deadline():
    assert gpu.run_until(python("import sys; sys.exit(3)"), float("inf")) == 3
    assert gpu.run_until(python("import os; assert os.environ['KERAS_BACKEND'] == 'jax'"), float("inf")) == 0
    assert gpu.run_until(python("import time; time.sleep(600)"), time.monotonic()) is None


@pytest.mark.parametrize("step", gpu.STEPS)
def test_a_step_is_a_case_or_an_experiment_with_options_that_it_has(step):
    module, *arguments = gpu.command(step, Path("out"))
    if module == "benchmarks":
        assert arguments[0] in CASES
        return
    config = tyro.cli(importlib.import_module(module).Config, args=arguments)
    assert config.backend == "jax" and config.workers == 1 and not config.fresh_graphs


def test_every_step_is_listed_in_the_results():
    text = (Path(__file__).parents[2] / "results/README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(gpu.STEPS)
