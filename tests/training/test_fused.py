"""The fused kernel trains as the backend does, to the same bits on any number of threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras import Network, backends, training
from lth_keras.mask import Mask
from lth_keras.masking.tables import LARGE
from lth_keras.training import NonFiniteLossError
from lth_keras.training.fused_chain import fused_chain

LOSS = "sparse_categorical_crossentropy"
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
OPTIMIZERS: dict[str, Callable[[], keras.Optimizer]] = {
    "adam": lambda: keras.optimizers.Adam(0.003),
    "adam of its own": lambda: keras.optimizers.Adam(0.003, beta_1=0.8, beta_2=0.95, epsilon=1e-4),
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.02, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.02, momentum=0.9, nesterov=True),
}
# Sizes on either side of vectors of 16, tiles of 6 rows and blocks of 48 columns; a network of one layer.
SIZES = [(20, 33, 17, 3), (16, 48, 5, 50, 4), (95, 97, 2), (7, 3)]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one wait for each other, which takes long where their processors are busy with other tests."""
    threads(monkeypatch, 1)


def model_of(
    sizes: Sequence[int], activation: str | None = "relu", last: str | None = "softmax", **options: Any
) -> keras.Model:
    layers = [keras.layers.Dense(units, activation, **options) for units in sizes[1:-1]]
    output = keras.layers.Dense(sizes[-1], last, **options)
    return keras.Sequential([keras.Input((sizes[0],)), *layers, output])


def last_frozen(model: keras.Model) -> keras.Model:
    model.layers[-1].trainable = False
    return model


def data_of(sizes: Sequence[int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Examples of a noisy linear rule."""
    generator = np.random.default_rng(0)
    rule = generator.normal(size=(sizes[0], sizes[-1]))

    def split(examples: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.normal(size=(examples, sizes[0])).astype(np.float32)
        return x, (x @ rule + generator.normal(size=(examples, sizes[-1]))).argmax(1).astype(np.int32)

    return {"train": split(310), "validation": split(101), "test": split(97)}


def network(
    sizes: Sequence[int] = SIZES[0], *, fused: bool = True, build: Any = None, masked: bool = True, **changes: Any
) -> Network:
    options = {"optimizer": OPTIMIZERS["adam"], "loss": LOSS, "batch_size": 16, "evaluate_every": 50, **changes}
    made = Network(build or (lambda: model_of(sizes)), fused=fused, **options)
    made.load(data_of(sizes))
    generator = np.random.default_rng(1)
    shapes = made.mask.shapes
    mask = {key: generator.random(shape) < (0.6 if masked else 2) for key, shape in shapes.items()}
    made.rewind(dict(made.draw_weights(0)), Mask(mask))
    return made


def threads(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(backends, "_threads", count)


def assert_same_training(one: Network, other: Network, steps: int = 200) -> None:
    ours, theirs = one.train(steps, seed=0), other.train(steps, seed=0)
    np.testing.assert_array_equal(ours.step, theirs.step)
    for name in ("train_loss", "validation_loss", "test_loss"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=2e-4, atol=1e-5)
    for name in ("validation_accuracy", "test_accuracy"):  # an example that is undecided may fall on either side
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=0.011)
    for key, value in one.weights.items():
        np.testing.assert_allclose(value, other.weights[key], rtol=1e-3, atol=2e-4, err_msg=key)
    np.testing.assert_allclose(one.evaluate_best("test"), other.evaluate_best("test"), rtol=1e-3, atol=0.011)
    assert ours.validation_loss[-1] < 0.8 * ours.validation_loss.max() or ours.train_loss[-1] < ours.train_loss[0]


@pytest.mark.parametrize(
    "name", [name if name == "adam" else pytest.param(name, marks=pytest.mark.slow) for name in OPTIMIZERS]
)
def test_it_trains_as_the_backend_with(name: str) -> None:
    assert_same_training(*(network(optimizer=OPTIMIZERS[name], fused=fused) for fused in (True, False)))


@pytest.mark.parametrize("sizes", SIZES[1:], ids=str)
@pytest.mark.parametrize("batch", [pytest.param(6, marks=pytest.mark.slow), 23])
def test_it_trains_networks_of_any_size(sizes: tuple[int, ...], batch: int) -> None:
    assert_same_training(*(network(sizes, batch_size=batch, fused=fused) for fused in (True, False)))


@pytest.mark.parametrize(
    ("activation", "last", "loss", "options"),
    [
        (None, "softmax", LOSS, {}),
        ("relu", None, LOGITS, {}),
        ("relu", "softmax", keras.losses.SparseCategoricalCrossentropy(), {"use_bias": False}),
    ],
    ids=["linear", "logits", "no bias"],
)
def test_it_trains_what_it_says_it_can(activation: Any, last: Any, loss: Any, options: dict[str, Any]) -> None:
    def build() -> keras.Model:
        return model_of(SIZES[0], activation, last, **options)

    assert_same_training(*(network(build=build, loss=loss, fused=fused) for fused in (True, False)))


@pytest.mark.parametrize("name", ["adam", "nesterov"])
def test_bits_do_not_depend_on_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in (1, 2, 3, 7):
        threads(monkeypatch, count)
        made = network(SIZES[1], optimizer=OPTIMIZERS[name])
        curves = made.train(120, seed=0)
        found.append((curves.train_loss, curves.validation_loss, *dict(made.weights).values()))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_bits_do_not_depend_on_how_a_training_is_cut_into_calls() -> None:
    whole, cut = network(), network()
    whole.train(130, seed=3)
    cut.train(130, seed=3, after={n: lambda: None for n in (1, 7, 50, 99)})
    for key, value in whole.weights.items():
        np.testing.assert_array_equal(value, cut.weights[key])


def test_losses_are_summed_in_one_order_however_calls_are_cut() -> None:
    made = network(evaluate_every=500)
    start, mask = dict(made.weights), made.mask
    order = np.random.default_rng(0).integers(0, 310, (499, 16)).astype(np.int32)
    sums = []
    for cut in (499, 137, 10, 1):
        made.rewind(start, mask)
        made._program.reset()
        for begin in range(0, 499, cut):
            made._program.advance(order[begin : begin + cut], begin, 1000)
        sums.append(made._program._loss_sum)  # float64: a curve's float32 would show it once in millions
    assert len(set(sums)) == 1


def test_a_training_knows_nothing_of_the_one_before() -> None:
    made = network()
    start, mask = dict(made.weights), made.mask
    first = made.train(60, seed=0)
    kept = dict(made.weights)
    made.train(60, seed=1)
    made.rewind(start, mask)
    again = made.train(60, seed=0)
    np.testing.assert_array_equal(first.train_loss, again.train_loss)
    for key, value in kept.items():
        np.testing.assert_array_equal(value, made.weights[key])


def test_pruned_weights_stay_at_zero_and_others_move() -> None:
    made = network()
    start = dict(made.weights)
    made.variables[next(iter(made.mask))].assign(start[next(iter(made.mask))] + 1)  # not even what is put there
    made.train(30, seed=0)
    for key, kept in made.mask.items():
        assert not made.weights[key][~kept].any()
        assert (made.weights[key] != start[key])[kept].mean() > 0.8  # but for units that are dead


def test_what_is_tested_is_what_the_model_gives() -> None:
    made = network()
    made.train(40, seed=0)
    x, y = made.split("test")
    loss, accuracy, outputs = made._program.test(x, y)
    expected = keras.ops.convert_to_numpy(made.model(x))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert accuracy == np.float32((expected.argmax(1) == y).mean())
    np.testing.assert_allclose(loss, -np.log(expected[np.arange(len(y)), y]).mean(), rtol=1e-5)


def test_units_that_die_do_not_end_in_tiny_numbers() -> None:
    # Such numbers take a hundred times as long; Adam's moments without a gradient become tiny after some 900 steps.
    made = network((8, 16, 2), optimizer=lambda: keras.optimizers.Adam(1e-3, beta_2=0.9))
    weights = dict(made.weights)
    bias = next(key for key in weights if key.endswith("bias"))
    made.train(20, seed=0)
    made.weights = {**made.weights, bias: np.full_like(weights[bias], -100)}
    program = made._program
    program.advance(np.arange(16, dtype=np.int32)[None].repeat(1200, 0), 20, 1300)
    moments = np.concatenate([program._first, program._second])
    assert not ((moments != 0) & (np.abs(moments) < np.finfo(np.float32).tiny)).any()


def test_a_loss_that_is_not_finite_names_the_step() -> None:
    made = network(optimizer=lambda: keras.optimizers.SGD(1e30))
    with pytest.raises(NonFiniteLossError, match="training loss .* at step [23]"):
        made.train(50, seed=0)
    made.rewind(dict(made.draw_weights(0)), made.mask)
    with pytest.raises(NonFiniteLossError):  # the same again, with nothing left of the last
        made.train(50, seed=0)


def test_without_validation_split_the_last_step_counts() -> None:
    made = network()
    data = data_of(SIZES[0])
    nothing = tuple(part[:0] for part in data["validation"])
    made.load({**data, "validation": nothing, "without_validation": True})
    curves = made.train(60, seed=0)
    assert np.isnan(curves.validation_loss).all() and curves.early_stop_step == 60


def test_more_dimensions_are_laid_out_flat() -> None:
    def build() -> keras.Model:
        layers = [keras.layers.Flatten(), keras.layers.Dense(9, "relu"), keras.layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input((4, 5)), *layers])

    def shaped(fused: bool) -> Network:
        data = {name: (x.reshape(-1, 4, 5), y) for name, (x, y) in data_of((20, 3)).items()}
        made = Network(build, optimizer=OPTIMIZERS["adam"], loss=LOSS, batch_size=16, evaluate_every=50, fused=fused)
        made.load(data)
        made.rewind(dict(made.draw_weights(0)), Mask.ones(made.mask.shapes))
        return made

    assert_same_training(shaped(True), shaped(False))


UNKNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "another loss": ("cross-entropy", {"loss": "categorical_crossentropy"}),
    "logits for probabilities": ("cross-entropy of probabilities", {"loss": LOGITS}),
    "a reduction": ("mean over", {"loss": keras.losses.SparseCategoricalCrossentropy(reduction="sum")}),
    "weight decay": ("without weight decay", {"optimizer": lambda: keras.optimizers.AdamW(1e-3)}),
    "another optimiser": ("Adam or SGD", {"optimizer": lambda: keras.optimizers.RMSprop(1e-3)}),
    "clipping": ("clipping", {"optimizer": lambda: keras.optimizers.Adam(1e-3, clipnorm=1.0)}),
    "AMSGrad": ("AMSGrad", {"optimizer": lambda: keras.optimizers.Adam(1e-3, amsgrad=True)}),
    "a schedule": (
        "constant learning rate",
        {"optimizer": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))},
    ),
    "tanh": ("ReLU or no activation", {"build": lambda: model_of(SIZES[0], "tanh")}),
    "sigmoid": ("softmax or no activation", {"build": lambda: model_of(SIZES[0], last="sigmoid")}),
    "float16": ("float32", {"build": lambda: model_of(SIZES[0], dtype="mixed_float16")}),
    "a regulariser": ("without regularisers", {"build": lambda: model_of(SIZES[0], kernel_regularizer="l2")}),
    "a frozen layer": ("a Dense that is frozen", {"build": lambda: last_frozen(model_of(SIZES[0]))}),
    "a frozen layer with a mask": (
        "trained whole",
        {"build": lambda: last_frozen(model_of(SIZES[0])), "prune_frozen": True},
    ),
    "XLA too": ("jit_compile=None", {"jit_compile": True}),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_it_refuses(what: str) -> None:
    message, changes = UNKNOWN[what]
    with pytest.raises(ValueError, match=message):
        network(**changes)


@pytest.mark.parametrize(
    ("shape", "layer"),
    [((10, 2), lambda: keras.layers.Conv1D(2, 3)), ((10,), lambda: keras.layers.Embedding(LARGE // 4, 4))],
    ids=["convolution", "large embedding"],
)
def test_other_layers_are_no_chain(shape: tuple[int, ...], layer: Callable[[], keras.layers.Layer]) -> None:
    def build() -> keras.Model:
        layers = [layer(), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input(shape), *layers])

    with pytest.raises(ValueError, match="fused has no kernel"):
        Network(build, optimizer=OPTIMIZERS["adam"], loss=LOSS, batch_size=4, fused=True)


def test_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "device", lambda: ("gpu", None))
    with pytest.raises(ValueError, match="Expected a CPU .* Received: gpu"):
        network()


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("lth_keras.training.fused")]:
        if name != "lth_keras.training.fused_layout":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(training, "fused", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lth_keras\[fused\]'"):
        network()


def test_a_thread_that_cannot_be_started_leaves_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    threads(monkeypatch, 4)
    made = network()
    from lth_keras.training import fused

    started: list[Any] = []

    class Third(fused.Thread):
        def start(self) -> None:
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr(fused, "Thread", Third)
    with pytest.raises(RuntimeError, match="can't start"):
        made.train(10, seed=0)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


def test_an_error_before_all_have_met_leaves_no_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    # As of a signal's handler, which Python calls in the main thread between any two operations.
    threads(monkeypatch, 2)
    made = network()
    made.train(10, seed=0)
    program = made._program
    compiled, running = program._train, threading.active_count()

    class Interrupted:
        compile = compiled.compile

        def __call__(self, thread: int, *arguments: Any) -> None:
            if thread == 0:
                raise TimeoutError
            compiled(thread, *arguments)

    program._train = Interrupted()
    with pytest.raises(TimeoutError):
        made.train(10, seed=0)
    assert threading.active_count() == running


def test_the_layers_are_found_with_their_activations() -> None:
    layers, softmax = fused_chain(network().model, LOSS)
    assert [tuple(layer.kernel.shape) for layer in layers] == [(20, 33), (33, 17), (17, 3)]
    assert [layer.relu for layer in layers] == [True, True, False] and softmax
