"""The script for a GPU runs at small size on a CPU, without TensorFlow, and goes on where it stopped."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tyro

from benchmarks import gpu

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", gpu.STEPS)
def test_every_step_is_a_command_that_is_understood(name, small, tmp_path):
    module, *arguments = gpu.STEPS[name].command(small, tmp_path)
    config = tyro.cli(importlib.import_module(module).Config, args=arguments)
    assert config.out == tmp_path
    if gpu.STEPS[name].search:
        assert config.backend == "jax" and config.workers == 1 and not config.fresh_graphs


def test_a_reduced_protocol_says_so():
    for name, step in gpu.STEPS.items():
        if step.search:
            module, *arguments = step.command(False, Path("out"))
            config_class = importlib.import_module(module).Config
            reduced = tyro.cli(config_class, args=arguments).trials < 5
            assert ("reduced" in step.title) == reduced, name


def test_every_step_is_listed_with_its_command():
    text = (ROOT / "results/README.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if "benchmarks.gpu --step" in line]
    assert [row[0].strip("| `") for row in rows] == list(gpu.STEPS)
    assert [row[2].strip(" |`").split()[-1] for row in rows] == list(gpu.STEPS)


def test_the_list_says_what_is_finished(tmp_path, capsys):
    (tmp_path / "limits.done.json").write_text("{}")
    assert gpu.main(["--list", "--out", str(tmp_path)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "finished" in lines["limits"] and "to do" in lines["lenet"]


def test_nothing_is_begun_when_the_time_is_over(tmp_path, capsys):
    assert gpu.main(["--minutes", "0.1", "--out", str(tmp_path)]) == 0
    assert "together: not begun" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="Expected step to be one of together.*Received: 'conv'"):
        gpu.Config(step="conv")


def test_a_command_that_outlasts_the_time_is_stopped():
    waits = [sys.executable, "-c", "import signal; signal.pause()"]
    assert gpu.run_until(waits, time.monotonic()) is None
    asks = [sys.executable, "-c", "import os, sys; sys.exit(7 if os.environ['KERAS_BACKEND'] == 'jax' else 0)"]
    assert gpu.run_until(asks, float("inf")) == 7


def step_of(monkeypatch, folder: Path, program: str, search: bool = False) -> None:
    """Makes `lenet` a step that runs a program, with its output directory as argument."""
    (folder / "program_of_a_step.py").write_text(f"import pathlib, sys\n{program}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    step = gpu.Step("a program", lambda small, out: ["program_of_a_step", str(out)], search)
    monkeypatch.setitem(gpu.STEPS, "lenet", step)


def test_a_step_that_fails_is_not_finished(monkeypatch, tmp_path, capsys):
    step_of(monkeypatch, tmp_path, "sys.exit(3)")
    assert gpu.main(["--step", "lenet", "--out", str(tmp_path)]) == 1
    assert "exit code 3" in capsys.readouterr().out
    assert not gpu._record(tmp_path, "lenet").exists()


WRITES = """
run = pathlib.Path(sys.argv[1], "run-1")
(run / "levels").mkdir(parents=True)
for name in ("config.json", "run.h5", "levels/level_00.h5", "lock"):
    (run / name).write_text("x")
sys.exit(130)
"""


def test_a_search_that_was_stopped_is_kept_and_not_finished(monkeypatch, tmp_path):
    step_of(monkeypatch, tmp_path, WRITES, search=True)
    config = gpu.Config(step="lenet", out=tmp_path)
    assert not gpu.perform("lenet", config, float("inf"))
    assert not gpu._record(tmp_path, "lenet").exists()
    assert (tmp_path / "lenet.h5").read_text() == "x"
    gpu.unpack(tmp_path / "lenet.tar.xz", tmp_path / "again")
    again = tmp_path / "again" / "run-1"
    found = sorted(path.relative_to(again).as_posix() for path in again.rglob("*.*"))
    assert found == ["config.json", "levels/level_00.h5", "run.h5"]
    monkeypatch.setattr(gpu, "PACKED_BYTES", 1)
    gpu.pack(tmp_path / "lenet", tmp_path / "too_large.tar.xz")
    assert not (tmp_path / "too_large.tar.xz").exists() and (tmp_path / "too_large.h5").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["together", "limits", "lenet"])
def test_it_runs_without_tensorflow(tmp_path, name):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorflow'] = None\n")
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment |= {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--step", name, "--out", str(tmp_path / "out")]
    for expected in ("python -m", f"{name}: finished before"):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
    record = json.loads((tmp_path / "out" / f"{name}.done.json").read_text())
    assert record["small"] and record["machine"]["commit"]
    results = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    wanted = {"lenet": {"lenet.h5", "lenet.tar.xz", "run.h5"}, "together": {"together.md"}, "limits": {"gpu_limits.md"}}
    assert wanted[name] <= results
