"""The cases of the benchmarks are complete, and run."""

import importlib.util
import pickle

import numpy as np
import pytest

from benchmarks import ways
from benchmarks.__main__ import main
from benchmarks.cases import CASES, agreement, memory_levels
from benchmarks.harness import Contender, take_turn
from benchmarks.subjects import LOSS, noise, subject
from benchmarks.torch_loop import VARIANTS, torch_speed, train
from lth_keras import Network
from lth_keras.models import lenet_300_100

EXAMPLES = noise({"train": 240, "validation": 20, "test": 30}, (784,))
OPTIMIZER = subject("lenet").optimizer


@pytest.mark.parametrize("name", CASES)
def test_a_case_has_contenders_that_other_processes_can_run(name):
    case = CASES[name]
    for small in (False, True):
        contenders = case.contenders(small)
        assert pickle.loads(pickle.dumps(contenders)) == contenders
    assert {name for pair in case.ratios for name in pair} <= set(case.contenders(False))


def test_the_command_line_lists_and_refuses(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(case.title in listed for case in CASES.values()) and "experiments.mnist_lenet_fcn" in listed
    for arguments in (["fast"], ["speed", "--rounds", "0"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "Received: " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "compact", "native"])
def test_a_search_is_timed_with_each_engine(engine):
    found = ways.search_speed("lenet", True, 4, engine, densities=(0.5,))
    assert list(found) == ["steps/s at density 100.0%", "steps/s at density 50.0%"]
    assert min(found.values()) > 0


@pytest.mark.slow
def test_fit_is_timed_over_whole_epochs():
    assert ways.fit_speed("lenet", True, 5, steps_per_execution=2)["steps/s"] > 0


def test_the_first_half_of_a_training_does_not_count(monkeypatch):
    clock, times = ways.Clock(), iter([0.0, 50.0, 60.0, 64.0])
    monkeypatch.setattr(ways.time, "perf_counter", lambda: next(times))
    task = type("Task", (), {"level": 0})()
    clock.started(task, 80)
    for done in (20, 40, 80):
        clock.advanced(task, done, 80)
    assert clock.rates() == {0: 10.0}


def test_growth_is_the_slope_of_the_levels_that_count():
    found = memory_levels.growth([9_000_000] * 5 + [2_000_000 + 3_000 * level for level in range(26)])
    assert list(found.values()) == pytest.approx([2.0, 2.075, 3.0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tickets", "embedding", "agreement", "memory_levels"])
def test_a_small_case_runs(name, tmp_path):
    # What the others run is timed above, and PyTorch below.
    assert main([name, "--small", "--rounds", "1", "--out", str(tmp_path)]) == 0
    text = (tmp_path / f"{name}.md").read_text()
    assert "Small sizes" in text
    assert "Left out" not in text


@pytest.mark.slow
def test_the_ways_of_the_agreement_train_the_same_weights_on_the_same_batches():
    # Of the first step alone: Keras squares the gradient of a repeated row in parts.
    first = "loss at the first step"
    assert agreement.by_keras(True, 1)[first] == pytest.approx(agreement.by_search(True, 1, "rows")[first], rel=1e-5)


def trained_by_torch(variant, start):
    """In a process without TensorFlow, beside which PyTorch crashes."""
    return {"loss": train(*EXAMPLES["train"], 8, variant, start=start)[0]}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_pytorch_trains_what_the_library_trains(variant):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    network = Network(lenet_300_100, optimizer=OPTIMIZER, loss=LOSS, batch_size=60, evaluate_every=8)
    network.load(EXAMPLES)
    start = [np.array(weight) for weight in dict(network.draw_weights(0)).values()]
    network.weights = dict(zip(network.variables, start, strict=True))
    expected = float(network.train(8, seed=0).train_loss[-1])
    assert take_turn(Contender("torch", torch_speed, (True, 4, variant)))["steps/s"] > 0
    found = take_turn(Contender("torch", trained_by_torch, (variant, start)))["loss"]
    # PyTorch's Adam adds epsilon after correcting the square root, Keras' and the written-out one before.
    assert found == pytest.approx(expected, rel=1e-5 if variant == "compiled" else 2e-3)
