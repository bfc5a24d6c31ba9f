"""The benchmark of training loops runs, and its arithmetic is right."""

import importlib.util
import json
from functools import partial

import numpy as np
import pytest

from benchmarks import memory, report, together, training_speed
from benchmarks.contenders import hand_tuned, pytorch_ways
from benchmarks.lenet import LOSS, optimizer, random_mnist
from benchmarks.processes import Stage
from lth_keras import Network
from lth_keras.models import lenet_300_100

SIZES = (130, 20, 30)
LOOP, JAX, FUSED, _ = training_speed.LOOPS


def compared(**changes):
    seconds = {
        LOOP: [1.0, 2.0, 1.0],
        training_speed.evaluated(LOOP): [1.25, 4.0, 1.25],
        training_speed.FIT: [6.0, 8.0, 5.0],
        training_speed.TUNED: [2.0, 4.0, 3.0],
        **changes,
    }
    arrays = {name: np.array(each) for name, each in seconds.items()}
    peaks = np.array([400.0, 200.0, 500.0])
    return training_speed.compare(arrays, peaks, steps=10, step_flop=20, evaluation_flop=100)


def test_ratios_are_taken_within_a_round():
    result = compared()
    ratios = {(ratio["of"], ratio["to"]): ratio for ratio in result["ratios"]}
    assert ratios[LOOP, training_speed.FIT]["rounds"] == [6, 4, 5]
    assert ratios[LOOP, training_speed.TUNED]["rounds"] == [2, 2, 3]
    assert ratios[LOOP, training_speed.FIT]["asked"] == 6.0
    assert ratios[training_speed.evaluated(LOOP), training_speed.TUNED]["asked"] is None
    assert result["steps_per_second"][LOOP]["rounds"] == [10, 5, 10]
    share = result["loops"][LOOP]["share_of_peak"]
    assert share["rounds"] == [0.5, 0.5, 0.4]
    assert share["median"] == 0.5


def test_both_loops_are_compared_with_all_others_and_with_each_other():
    other = {JAX: [2.0, 2.0, 4.0], training_speed.evaluated(JAX): [3.0, 3.0, 5.0], training_speed.PYTORCH: [1.0] * 3}
    ratios = {(ratio["of"], ratio["to"]): ratio["rounds"] for ratio in compared(**other)["ratios"]}
    assert ratios[JAX, training_speed.PYTORCH] == [0.5, 0.5, 0.25]
    assert ratios[JAX, LOOP] == [0.5, 1, 0.25]
    assert len(ratios) == 2 * 2 * 3 + 1


def test_the_fused_kernel_is_compared_with_the_loop_in_whose_place_it_is():
    other = {name: [3.0] * 3 for name in (JAX, FUSED, *map(training_speed.evaluated, (JAX, FUSED)))}
    ratios = {(ratio["of"], ratio["to"]): ratio for ratio in compared(**other)["ratios"]}
    assert (FUSED, LOOP) in ratios and (FUSED, JAX) not in ratios
    assert ratios[FUSED, training_speed.FIT]["asked"] == ratios[LOOP, training_speed.FIT]["asked"] == 6.0


def test_evaluations_are_what_the_loop_takes_longer_with_them():
    evaluation = compared()["loops"][LOOP]["evaluation"]
    assert evaluation["share_of_flop"] == pytest.approx(100 / 300)
    assert evaluation["share_of_time"]["rounds"] == pytest.approx([0.2, 0.5, 0.2])
    assert evaluation["flop_per_second"]["rounds"] == pytest.approx([400, 50, 400])
    assert evaluation["flop_per_second_to_training"]["rounds"] == pytest.approx([2, 0.5, 2])


def test_a_negative_time_of_evaluation_gives_no_speed():
    evaluation = compared(**{training_speed.evaluated(LOOP): [1.25, 1.9, 1.25]})["loops"][LOOP]["evaluation"]
    assert evaluation["flop_per_second"] is None and evaluation["flop_per_second_to_training"] is None
    assert evaluation["share_of_time"]["min"] < 0


def test_a_backend_that_is_not_installed_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(training_speed.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    assert training_speed.left_out(training_speed.Config()) == {
        "torch": "PyTorch is not installed and takes no part: pip install -e '.[bench]'"
    }
    assert training_speed.left_out(training_speed.Config(backends=("jax",))) == {}


@pytest.mark.slow
def test_pytorch_trains_what_the_loop_trains():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    splits = random_mnist((240, 20, 30))
    network = Network(lenet_300_100, optimizer=optimizer, loss=LOSS, batch_size=60, evaluate_every=8)
    network.load(splits)
    start = [np.array(weight) for weight in dict(network.draw_weights(0)).values()]
    network.weights = dict(zip(network.variables, start, strict=True))
    expected = float(network.train(8, seed=0).train_loss[-1])
    with Stage("torch", partial(random_mnist, (240, 20, 30))) as stage:  # beside TensorFlow it crashes
        for name in stage.call(pytorch_ways):
            contender = stage.contender(hand_tuned, 8, name, start)
            turns = []
            for _ in range(2):
                contender.restore()
                turns.append(contender.run())
            # PyTorch's Adam adds epsilon after correcting the square root, Keras' and the written-out one before.
            assert turns[0] == pytest.approx(expected, rel=1e-5 if name == "compiled step" else 2e-3), name
            assert turns[0] == pytest.approx(turns[1], rel=1e-6), name


def test_a_summary_is_median_and_extremes():
    summary = report.summary([3, 1, 2, 10])
    assert (summary["median"], summary["min"], summary["max"]) == (2.5, 1, 10)
    assert report.spread(summary, ".1f") == ["2.5", "1.0 - 10.0"]


@pytest.mark.slow
def test_training_speed_runs_and_writes_what_it_prints(tmp_path, capsys):
    arguments = ["--rounds", "2", "--steps", "4", "--steps-per-execution", "2", "3", "--matrix-size", "16"]
    arguments += ["--backends", "jax"] if importlib.util.find_spec("jax") else []
    training_speed.main([*arguments, "--out", str(tmp_path)], partial(random_mnist, SIZES))
    result = json.loads((tmp_path / "training_speed.json").read_text())
    text = (tmp_path / "training_speed.md").read_text()
    assert text == training_speed.markdown(result)
    assert text.strip() in capsys.readouterr().out
    assert "random data" in result["data"] and result["data"] in text
    assert result["step_flop"] == 67_608_000
    assert result["evaluation_flop"] == 2 * 266_200 * (SIZES[1] + SIZES[2])
    assert set(result["tuning"]) == {"2", "3"}
    assert all(len(rate["rounds"]) == 2 for rate in result["steps_per_second"].values())
    for name in ("commit", "cpu", "cores", "memory_bytes", "system", "python", "keras", "tensorflow", "numpy"):
        assert name in result["machine"]


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        (memory.Config, {"levels": 7}),
        (memory.Config, {"short": 10}),
        (memory.Config, {"steps": 0}),
        (training_speed.Config, {"rounds": 0}),
        (training_speed.Config, {"steps_per_execution": ()}),
        (together.Config, {"tickets": ()}),
        (together.Config, {"steps": 0}),
    ],
)
def test_settings_that_measure_nothing_are_refused(config, arguments):
    with pytest.raises(ValueError, match="Expected .* Received"):
        config(**arguments)
