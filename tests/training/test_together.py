"""Tickets trained together as one program: each as if it were alone."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.mask import Mask
from lth_keras.search.width import best_width, check_width, choose_width
from lth_keras.storage import RunDirectory
from lth_keras.training import NonFiniteLossError
from lth_keras.training.network import Network
from lth_keras.training.together import Member, Together
from tests import tiny

ON_JAX = keras.backend.backend() == "jax"
jax_only = pytest.mark.skipif(not ON_JAX, reason="tickets are trained together on JAX only: KERAS_BACKEND=jax")
FIELDS = ("train_loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
SEEDS = (3, 4, 5)


def build():
    """With dropout and batch statistics, which every ticket has its own of."""
    dense = [layers.Dense(16, "relu"), layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(3, "softmax")]
    return keras.Sequential([keras.Input((8,)), *dense])


OPTIMIZERS = {
    "adam": tiny.adam,
    "sgd": lambda: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9),
}


def network_of(optimizer=tiny.adam, **changes):
    return Network(
        changes.pop("build", build),
        optimizer=optimizer,
        loss=changes.pop("loss", "sparse_categorical_crossentropy"),
        batch_size=10,
        evaluate_every=5,
        test_every=10,
        evaluation_batch_size=16,
        **changes,
    )


def member(network, seed, name="a"):
    """A ticket with its own weights and mask."""
    generator = np.random.default_rng([seed, ord(name)])
    mask = Mask({key: generator.random(shape) < 0.7 for key, shape in network.mask.shapes.items()})
    return Member(dict(network.draw_weights(seed, name)), mask, seed, ("level", name))


def alone(network, ticket, data, steps=23):
    network.load(data)
    network.rewind(ticket.weights, ticket.mask)
    curves = network.train(steps, seed=ticket.seed, names=ticket.names, confusion=True)
    return curves, dict(network.weights), network.test_metric_at_early_stop(curves)


@jax_only
def test_multi_label_tickets_are_measured_as_if_alone():
    """Micro-F1 of the whole split, at the early stop too, and outcomes by class."""

    def several():
        return keras.Sequential([keras.Input((8,)), layers.Dense(16, "relu"), layers.Dense(3, "sigmoid")])

    def data(seed):
        one_hot = np.eye(3, dtype="float32")
        return {name: (x, np.maximum(one_hot[y], one_hot[y // 2])) for name, (x, y) in tiny.data(seed).items()}

    network = network_of(build=several, loss="binary_crossentropy")
    members = [member(network, 3), member(network, 4)]
    together = Together(network, 2)
    together.load({seed: network.checked(data(seed)) for seed in (3, 4)})
    results = together.train(members, 23, confusion=True)
    for ticket, result in zip(members, results, strict=True):
        curves, _, f1 = alone(network, ticket, data(ticket.seed))
        assert 0 < f1 < 1 and result.test_metric_at_early_stop == pytest.approx(f1)
        for field in ("validation_accuracy", "test_accuracy"):
            np.testing.assert_allclose(getattr(result.curves, field), getattr(curves, field), rtol=1e-5)
        np.testing.assert_array_equal(result.curves.test_counts, curves.test_counts)
        assert result.curves.test_confusion is None


def loaded(network, width, seeds=SEEDS):
    together = Together(network, width)
    together.load({seed: network.checked(tiny.data(seed)) for seed in seeds})
    return together


def assert_equal(one, other):
    for field in (*FIELDS, "test_confusion"):
        np.testing.assert_array_equal(getattr(one.curves, field), getattr(other.curves, field))
    for key, value in one.weights.items():
        np.testing.assert_array_equal(value, other.weights[key])


def kept(results):
    """The results with weights that outlast the next training."""
    return [result._replace(weights=dict(result.weights)) for result in results]


@jax_only
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_is_trained_as_if_it_were_alone(name):
    network = network_of(OPTIMIZERS[name])
    members = [member(network, 3), member(network, 4), member(network, 3, "b"), member(network, 5)]
    before = dict(network.weights)
    results = loaded(network, 4).train(members, 23, confusion=True)
    for key, value in network.weights.items():
        np.testing.assert_array_equal(value, before[key])
    assert len(results) == 4
    for ticket, result in zip(members, results, strict=True):
        curves, weights, accuracy = alone(network, ticket, tiny.data(ticket.seed))
        np.testing.assert_array_equal(result.curves.step, curves.step)
        for field in FIELDS:
            np.testing.assert_allclose(getattr(result.curves, field), getattr(curves, field), rtol=1e-4, err_msg=field)
        np.testing.assert_array_equal(result.curves.test_confusion, curves.test_confusion)
        assert result.test_metric_at_early_stop == pytest.approx(accuracy)
        for key, value in weights.items():
            np.testing.assert_allclose(result.weights[key], value, rtol=1e-3, atol=1e-5, err_msg=key)
            if key in ticket.mask:
                assert not result.weights[key][~ticket.mask[key]].any()
    losses = [tuple(result.curves.train_loss) for result in results]
    assert len(set(losses)) == 4, "tickets that do not differ show nothing"


@jax_only
def test_company_changes_no_bit():
    network = network_of()
    together = loaded(network, 3)
    members = [member(network, 3), member(network, 4), member(network, 5)]
    first = kept(together.train(members, 12, confusion=True))
    (lonely,) = kept(together.train(members[1:2], 12, confusion=True))
    assert_equal(lonely, first[1])
    reverse = kept(together.train(members[::-1], 12, confusion=True))
    for one, other in zip(reverse, first[::-1], strict=True):
        assert_equal(one, other)
    together.load({4: network.checked(tiny.data(4))})  # other data on the device
    (lonely,) = together.train(members[1:2], 12, confusion=True)
    assert_equal(lonely, first[1])
    assert together._programs.traces == 2, "one for each number of different data sets"
    assert together._programs._evaluate._cache_size() == 2


@jax_only
def test_a_loss_that_is_not_finite_is_its_own_tickets():
    network = network_of()
    good, bad = member(network, 3), member(network, 4)
    broken = bad._replace(weights={key: value * np.nan for key, value in bad.weights.items()})
    together = loaded(network, 2)
    (expected,) = kept(together.train([good], 12))
    error, result = together.train([broken, good], 12)
    assert isinstance(error, NonFiniteLossError) and error.step == 1
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(result.curves, field), getattr(expected.curves, field))
    alone_too = together.train([broken], 12)
    assert isinstance(alone_too[0], NonFiniteLossError) and alone_too[0].step == 1


@jax_only
def test_without_validation_split_the_last_step_is_the_early_stop():
    network = network_of()
    data = {**tiny.data(3), "without_validation": True}
    data["validation"] = tuple(part[:0] for part in data["validation"])
    together = Together(network, 2)
    together.load({3: network.checked(data)})
    (result,) = together.train([member(network, 3)], 12)
    assert np.isnan(result.curves.validation_loss).all()
    assert result.test_metric_at_early_stop == result.curves.test_metric[-1]


@jax_only
def test_trials_of_different_shapes_are_refused():
    network = network_of()
    other = {name: (x[:-1], y[:-1]) for name, (x, y) in tiny.data(4).items()}
    with pytest.raises(ValueError, match=r"equal shapes.*vectorize=1"):
        Together(network, 2).load({3: network.checked(tiny.data(3)), 4: network.checked(other)})


@pytest.mark.skipif(ON_JAX, reason="what other backends say")
def test_other_backends_say_that_they_cannot():
    with pytest.raises(ValueError, match=r"Expected Keras on JAX.*Received: tensorflow"):
        Together(network_of(), 2)


def test_as_many_as_fit_on_a_gpu_and_one_by_one_elsewhere(monkeypatch):
    made = []

    def make(**changes):
        made.append(network_of(jit_compile=True, **changes))
        return made[-1]

    def width(tickets, kind, free, **changes):
        monkeypatch.setattr("lth_keras.search.width.device", lambda: (kind, free))
        return best_width(lambda: make(**changes), tickets)

    assert width(6, "cpu", None) == 1 and not made, "no network is made to find that out"
    assert width(1, "gpu", 10**10) == 1 and not made
    assert width(6, "gpu", 10**10) == 6
    assert width(1000, "gpu", None) == 64
    fits = [width(1000, "gpu", free) for free in (10**4, 3 * 10**5, 6 * 10**5)]
    assert 1 == fits[0] < fits[1] < fits[2] < 64
    assert 1.8 < fits[2] / fits[1] < 2.2
    convolutional = [keras.Input((8, 1)), layers.Conv1D(2, 3), layers.Flatten(), layers.Dense(3, "softmax")]
    assert width(6, "gpu", 10**10, build=lambda: keras.Sequential(convolutional)) == 1


def test_a_width_is_the_one_asked_for_or_recorded_or_the_best(tmp_path, monkeypatch):
    def width(asked, recorded=None, tickets=6):
        return choose_width(asked, recorded, tickets, lambda: 5)

    new = RunDirectory.open(tmp_path, "new", {}, vectorize=3)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert width(2) == 2 and width("auto") == 5 and width("auto", new) == 5
    assert width("auto", tickets=1) == 1
    monkeypatch.setattr(RunDirectory, "finished", lambda self: {(0, "dense", 0)})
    assert width("auto", new) == 3 and width(2, new) == 2
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    assert width("auto") == 1


def test_more_than_fit_are_refused():
    network = network_of()
    together = Together.__new__(Together)
    together._network, together.width = network, 2
    with pytest.raises(ValueError, match="1 to 2 tickets. Received: 3"):
        together.train([member(network, 3)] * 3, 5)
    with pytest.raises(ValueError, match="1 to 2 tickets. Received: 0"):
        together.train([], 5)


@pytest.mark.parametrize("width", [0, -1, "all", 2.0, True, None])
def test_widths_that_mean_nothing_are_refused(width):
    with pytest.raises(ValueError, match="Expected vectorize to be 'auto' or an integer from 1"):
        check_width(width)
    with pytest.raises(ValueError, match="Expected vectorize"):
        tiny.make(vectorize=width)
