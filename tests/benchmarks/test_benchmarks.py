"""Benchmarks run, and their arithmetic is right. What they measure is no business of the tests."""

import importlib.util
import json
import math
import os
from functools import partial

import keras
import numpy as np
import pytest

from benchmarks import embedding_agreement, embedding_step, memory, report, together, training_speed
from benchmarks.contenders import Contender, Turn, hand_tuned, pytorch_ways, take_turns
from benchmarks.flop import dense_sizes, evaluated_examples, forward_flop, training_flop
from benchmarks.growth import growth, t_quantile
from benchmarks.lenet import LOSS, optimizer, random_mnist
from benchmarks.processes import Stage, side_by_side
from lth_keras import Network
from lth_keras.models import lenet_300_100
from lth_keras.results import RunDirectory
from lth_keras.tasks import LevelError

LENET = [(784, 300), (300, 100), (100, 10)]
SIZES = (130, 20, 30)


def test_lenet_takes_67_6_mflop_a_step():
    assert dense_sizes(lenet_300_100()) == LENET
    assert training_flop(LENET, 60) == 67_608_000


@pytest.mark.parametrize("sizes", [[(3, 4)], [(3, 4), (4, 5)], [(2, 7), (7, 3), (3, 4)]])
def test_training_flop_counts_every_product_but_the_gradient_of_the_data(sizes):
    batch, products = 6, []
    for number, (inputs, units) in enumerate(sizes):
        products.append((batch, inputs, units))  # x @ kernel
        products.append((inputs, batch, units))  # x.T @ gradient
        if number:
            products.append((batch, units, inputs))  # gradient @ kernel.T
    assert training_flop(sizes, batch) == sum(2 * a * b * c for a, b, c in products)
    assert forward_flop(sizes, batch) == sum(2 * batch * inputs * units for inputs, units in sizes)


@pytest.mark.parametrize("steps", [20, 25])
def test_evaluated_examples_are_those_that_the_loop_evaluates(steps):
    network = Network(
        lambda: lenet_300_100(hidden=(2,)),
        optimizer=keras.optimizers.SGD,
        loss="sparse_categorical_crossentropy",
        batch_size=10,
        evaluate_every=5,
        test_every=10,
        jit_compile=False,
    )
    network.load(random_mnist((20, 7, 11)))
    curves = network.train(steps, seed=0)
    examples = 7 * len(curves.step) + 11 * np.isfinite(curves.test_loss).sum()
    assert evaluated_examples(steps, {5: 7, 10: 11}) == examples


@pytest.mark.parametrize(("steps", "examples"), [(1, 60), (3200, 55_000), (916, 55_000), (917, 55_000), (7, 130)])
def test_a_turn_is_whole_epochs_of_full_batches(steps, examples):
    turn = Turn.of(steps, examples)
    assert turn.steps_per_epoch * 60 <= examples
    assert steps - turn.epochs < turn.steps <= steps


def test_contenders_take_turns_from_their_start_after_one_to_compile():
    calls = []

    def contender(name):
        return Contender(lambda: calls.append(f"restore {name}"), lambda: calls.append(name) or 0.5)

    notes = []
    seconds = take_turns({name: contender(name) for name in "abc"}, 2, lambda: notes.append(calls[-1]))
    turns = list("abc" + "abc" + "bca")
    assert calls == [call for name in turns for call in (f"restore {name}", name)]
    assert notes == turns[3:]
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2, "c": 2}


def test_a_contender_whose_loss_is_not_finite_is_no_result():
    with pytest.raises(ArithmeticError, match="'broken'"):
        take_turns({"broken": Contender(lambda: None, lambda: math.nan)}, 1)


LOOP, JAX = training_speed.LOOPS.values()


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
    assert ratios[LOOP, training_speed.FIT]["asked"] == 5.0
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


def counted(load: tuple[int, int], name: str, fails: bool = False) -> Contender:
    """A contender whose turns count in its process, from what is loaded there."""
    state = list(load)

    def run() -> float:
        if fails:
            raise ValueError(f"{name} fails")
        state[0] += 1
        return float(state[0])

    return Contender(lambda: state.__setitem__(0, load[0]), run)


def test_a_stage_has_a_process_and_a_backend_of_its_own():
    with Stage("jax", partial(tuple, (5, 0))) as stage:
        assert stage.call(os.getenv, "KERAS_BACKEND") == "jax" and os.environ["KERAS_BACKEND"] != "jax"
        assert stage.call(os.getpid) != os.getpid()
        one, other = (stage.contender(counted, name) for name in ("one", "other"))
        assert [one.run(), one.run(), other.run()] == [6, 7, 6]
        one.restore()
        assert one.run() == 6
        with pytest.raises(RuntimeError, match="jax(.|\n)*broken fails"):
            stage.contender(counted, "broken", fails=True).run()
        assert one.run() == 7
        with pytest.raises(RuntimeError, match="jax ended with exit code 3"):
            stage.call(os._exit, 3)


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


def test_stages_side_by_side_take_their_turns_at_once():
    with Stage("jax", partial(tuple, (5, 0))) as one, Stage("jax", partial(tuple, (7, 0))) as other:
        both = side_by_side([one, other], counted, "both")
        assert [both.run(), both.run()] == [7, 8]
        both.restore()
        assert both.run() == 7


def test_times_of_tickets_together_are_beside_one_in_the_same_round():
    seconds = {together.ALONE: [1.0, 2.0, 1.0], "10 together": [1.2, 3.0, 1.4]}
    ways = together.compare(
        {name: np.array(each) for name, each in seconds.items()}, {together.ALONE: 1, "10 together": 10}, steps=20
    )["ways"]
    assert ways["10 together"]["time_of_one"]["rounds"] == pytest.approx([1.2, 1.5, 1.4])
    assert ways["10 together"]["times_one_by_one"]["median"] == pytest.approx(10 / 1.4)
    assert ways["10 together"]["steps_per_second_of_each"]["max"] == pytest.approx(20 / 1.2)
    assert ways["10 together"]["steps_per_second_in_all"]["max"] == pytest.approx(200 / 1.2)
    assert ways[together.ALONE]["times_one_by_one"]["rounds"] == [1, 1, 1]


@pytest.mark.slow
def test_tickets_together_run_and_are_written_out(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    arguments = ["--tickets", "1", "2", "--steps", "4", "--rounds", "2", "--evaluations", "--out", str(tmp_path)]
    together.main(arguments, partial(random_mnist, SIZES))
    result = json.loads((tmp_path / "together.json").read_text())
    assert (tmp_path / "together.md").read_text() == together.markdown(result)
    assert {way["tickets"] for way in result["ways"].values()} >= {1, 2}
    assert "random data" in result["data"] and "evaluated every 100 steps" in together.markdown(result)


def test_a_summary_is_median_and_extremes():
    summary = report.summary([3, 1, 2, 10])
    assert (summary["median"], summary["min"], summary["max"]) == (2.5, 1, 10)
    assert report.spread(summary, ".1f") == ["2.5", "1.0 - 10.0"]


@pytest.mark.parametrize(
    ("freedom", "quantile", "within"), [(3, 3.1824, 1e-2), (10, 2.2281, 1e-4), (24, 2.0639, 1e-4), (1000, 1.9623, 1e-4)]
)
def test_quantiles_of_students_t_are_the_tables(freedom, quantile, within):
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, rel=within)


def test_growth_of_a_line_is_its_slope_without_doubt():
    used = [10**9] * 5 + [2_000_000 + 3000 * level for level in range(5, 31)]
    found = growth(used, 5)
    assert found["growth_bytes"] == 25 * 3000
    assert found["slope_bytes"] == pytest.approx(3000)
    assert found["interval_bytes"] == pytest.approx([3000, 3000])


def test_the_interval_holds_the_slope_in_95_of_100_cases():
    generator = np.random.default_rng(0)
    levels, held, cases = np.arange(12), 0, 2000
    for _ in range(cases):
        low, high = growth(50.0 + 7.0 * levels + generator.normal(0, 20, 12), 2)["interval_bytes"]
        held += low <= 7 <= high
    assert held / cases == pytest.approx(0.95, abs=0.015)


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


@pytest.mark.slow
def test_memory_runs_and_writes_what_it_prints(tmp_path, capsys):
    sizes = {name: {"sizes": SIZES} for name in ("lenet", "failures", "fresh", "naive")}
    arguments = ["--levels", "8", "--short", "5", "--steps", "1", "--ways", *sizes, "--backends", "tensorflow"]
    memory.main([*arguments, "--out", str(tmp_path)], sizes)
    result = json.loads((tmp_path / "memory.json").read_text())
    text = (tmp_path / "memory.md").read_text()
    assert text == memory.markdown(result)
    assert text.strip() in capsys.readouterr().out
    assert [len(way["bytes"]) for way in result["ways"].values()] == [9, 6, 6, 9]
    assert [way["first"] for way in result["ways"].values()] == [5, 2, 2, 5]
    for way in result["ways"].values():
        assert growth(way["bytes"], way["first"]).items() <= way.items()


@pytest.mark.slow
def test_a_search_with_embeddings_is_sampled_after_every_level():
    samples = memory.embeddings(1, 1, words=50, dimension=4)
    assert len(samples) == 2 and all(one.resident > 1e6 for one in samples)


@pytest.mark.parametrize(("ways", "short"), [(("embeddings",), 11), (("fresh",), 5), (("lenet",), 0)])
def test_levels_must_be_enough_for_the_ways_that_are_measured(ways, short):
    assert memory.Config(ways=ways, short=short).short == short
    with pytest.raises(ValueError, match="Expected (levels|short) to be at least (11|8|5)"):
        memory.Config(ways=ways, short=short - 1, levels=7 if ways == ("lenet",) else 100)


def test_searches_that_fail_are_told_from_those_that_do_not(monkeypatch):
    samples = memory.failures(2, 1, SIZES)
    assert len(samples) == 3 and all(one.resident > 1e6 for one in samples)
    monkeypatch.setattr(memory, "LevelError", KeyError)
    with pytest.raises(LevelError, match="not finite"):
        memory.failures(1, 1, SIZES)


def test_runs_that_differ_in_a_bit_are_told_apart(tmp_path):
    runs = []
    for steps in (1, 2):
        memory.run_with_one_graph(partial(memory.lenet_search, 1, steps, SIZES), tmp_path / str(steps))
        runs.append(RunDirectory.load(next((tmp_path / str(steps)).iterdir())))
    memory.check_same_bits(runs[0], runs[0])
    with pytest.raises(RuntimeError, match="same bits"):
        memory.check_same_bits(*runs)


def test_the_naive_way_is_sampled_after_every_level():
    used = memory.naive(1, 1, SIZES)
    assert len(used) == 2 and all(one.resident > 1e6 for one in used)


def test_memory_of_the_device_is_a_line_of_its_own():
    way = {"asked": 1e5, "first": 2, "bytes": [10**9 + level for level in range(9)]}
    way |= growth(way["bytes"], 2)
    settings = {"steps": 1, "branches": ["a", "b"], "batch_size": 60, "examples": list(SIZES), "left_out": ["jax"]}
    result = {**report.header("memory"), "settings": settings, "ways": {"search": {**way, "device": way}}}
    text = memory.markdown(result)
    assert "| search | 2 to 8 | +0.0 MB | +0 kB | +0 to +0 kB | 100 kB |" in text
    assert (
        f"| search: {'on the GPU' if result['machine']['accelerators'] else 'arrays that JAX holds'} | 2 to 8 |" in text
    )
    assert "JAX is not installed" in text


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


def few_documents():
    """Random words instead of 20 Newsgroups, in few documents."""
    generator = np.random.default_rng(0)
    return "random words", (generator.integers(50, size=(700, 200), dtype=np.int32), generator.integers(20, size=700))


@pytest.mark.slow
def test_an_embedding_step_is_timed_on_both_backends_and_written_out(tmp_path):
    arguments = ["--rounds", "1", "--steps", "4", "--dimension", "2", "--out", str(tmp_path)]
    embedding_step.main(arguments, few_documents)
    result = json.loads((tmp_path / "embedding_step.json").read_text())
    assert (tmp_path / "embedding_step.md").read_text() == embedding_step.markdown(result)
    contenders = {embedding_step.ROWS, embedding_step.JAX, embedding_step.FIT, embedding_step.COMPILED}
    contenders -= {embedding_step.JAX} if result["left_out"] else set()
    assert set(result["seconds_per_step"]) == set(result["peak_bytes"]) == contenders
    assert min(each["min"] for each in result["seconds_per_step"].values()) > 0
    assert min(result["peak_bytes"].values()) > 16 * 61_188 * 2 * 4


@pytest.mark.slow
@pytest.mark.parametrize("contender", [embedding_step.rows, partial(embedding_step.fit, jit_compile=False)])
def test_a_turn_of_an_embedding_step_times_the_steps_that_count(contender):
    turn = contender(few_documents, 8, 2)
    assert len(turn.seconds) == (1 if contender is embedding_step.rows else 2)
    assert min(turn.seconds) > 0
    assert turn.peak_bytes > 16 * 61_188 * 2 * 4


def test_ratios_of_an_embedding_step_are_taken_within_a_round():
    seconds = {embedding_step.ROWS: [1.0, 2.0], embedding_step.FIT: [8.0, 8.0], embedding_step.JAX: [2.0, 2.0]}
    compared = embedding_step.compare({name: np.array(each) for name, each in seconds.items()})
    ratios = {(ratio["of"], ratio["to"]): ratio["rounds"] for ratio in compared["ratios"]}
    assert ratios == {
        (embedding_step.ROWS, embedding_step.FIT): [8, 4],
        (embedding_step.JAX, embedding_step.FIT): [4, 4],
        (embedding_step.JAX, embedding_step.ROWS): [0.5, 1],
    }


def test_an_embedding_step_without_jax_leaves_it_out(monkeypatch):
    turn = embedding_step.Turn([0.5], 10)
    backends = []

    class Stage:
        def __init__(self, backend, load):
            backends.append(backend)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def call(self, function, *arguments):
            return turn

    monkeypatch.setattr(embedding_step, "Stage", Stage)
    monkeypatch.setattr(embedding_step.importlib.util, "find_spec", lambda name: None)
    result = {**report.header("embedding_step"), **embedding_step.measure(embedding_step.Config(), few_documents)}
    assert set(backends) == {"tensorflow"} and len(backends) == 9
    assert embedding_step.JAX not in result["seconds_per_step"]
    assert "JAX is not installed and takes no part." in embedding_step.markdown(result)


@pytest.mark.slow
def test_the_ways_of_the_agreement_see_the_same_batches_and_weights(monkeypatch):
    monkeypatch.setattr(embedding_agreement, "documents", few_documents)
    dense = embedding_agreement.by_loop(3, 2, "dense")
    np.testing.assert_allclose(embedding_agreement.by_keras(3, 2), dense, rtol=1e-3)


def test_embedding_results_are_written_out():
    turns = {name: report.summary([0.2, 0.1, 0.4]) for name in (embedding_step.ROWS, embedding_step.FIT)}
    result = {
        "data": "words",
        "settings": {"rounds": 3, "steps": 8, "dimension": 300},
        "weights": 293_702_400,
        "seconds_per_step": turns,
        "peak_bytes": dict.fromkeys(turns, 7_000_000_000),
        "ratios": [{"of": embedding_step.ROWS, "to": embedding_step.FIT, "asked": 2.5, **report.summary([4.0, 5.0])}],
        "left_out": [],
        **report.header("embedding_step"),
    }
    text = embedding_step.markdown(result)
    assert "| 0.200 | 0.100 - 0.400 | 7.0 |" in text
    assert "| 4.50 | 4.00 - 5.00 | 2.5 |" in text
    losses = {name: [3.0, 2.5] for name in (embedding_agreement.DENSE, embedding_agreement.EXACT)}
    losses |= {embedding_agreement.LAZY: [3.0, 2.6], embedding_agreement.KERAS: [3.0, 2.4]}
    differences = {name: abs(values[1] - 2.5) for name, values in losses.items()}
    agreement = {
        **result,
        "settings": {"steps": 2, "dimension": 300},
        "losses": losses,
        "differences": differences,
        "mean_differences": {name: difference / 2 for name, difference in differences.items()},
    }
    assert "| rows in use, lazy | 3.0000 | 2.6000 | 0.05 | 0.1 |" in embedding_agreement.markdown(agreement)
    assert len(embedding_agreement.figure(agreement).axes) == 2
