"""Contenders take fair turns, in this process and in others, and what they compute is counted right."""

import math
import os
from functools import partial

import keras
import numpy as np
import pytest

from benchmarks import lenet
from benchmarks.contenders import Contender, Turn, take_turns
from benchmarks.flop import dense_sizes, evaluated_examples, forward_flop, training_flop
from benchmarks.lenet import random_mnist
from benchmarks.processes import Stage, side_by_side
from lth_keras import Network
from lth_keras.models import lenet_300_100

LENET = [(784, 300), (300, 100), (100, 10)]


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
def test_stages_side_by_side_take_their_turns_at_once():
    with Stage("jax", partial(tuple, (5, 0))) as one, Stage("jax", partial(tuple, (7, 0))) as other:
        both = side_by_side([one, other], counted, "both")
        assert [both.run(), both.run()] == [7, 8]
        both.restore()
        assert both.run() == 7


@pytest.mark.parametrize("reader", ["here", None])
def test_random_data_stand_for_mnist_where_nothing_can_read_it(monkeypatch, tmp_path, reader):
    monkeypatch.setenv("LTH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(lenet, "random_mnist", lambda: "random data")
    monkeypatch.setattr(lenet.mnist, "load", lambda: "MNIST")
    monkeypatch.setattr(lenet.importlib.util, "find_spec", lambda name: reader)
    assert lenet.mnist_or_random() == "random data"
    cached = tmp_path / "mnist/3.0.1/dataset_info.json"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert lenet.mnist_or_random() == ("MNIST" if reader else "random data")
