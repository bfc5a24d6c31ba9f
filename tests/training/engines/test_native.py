"""The native kernel trains as the backend does, to the same bits on any number of threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras import Network
from lth_keras.mask import Mask
from lth_keras.training.engines import native
from lth_keras.training.engines.native import barriers, dense, native_program, sparse, steps, team
from lth_keras.training.engines.native.chain import native_chain
from tests.few import few

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


def network(sizes: Sequence[int] = SIZES[0], *, engine: str = "native", build: Any = None, **changes: Any) -> Network:
    options: dict[str, Any] = {"optimizer": OPTIMIZERS["adam"], "loss": LOSS, "batch_size": 16, "evaluate_every": 50}
    options |= changes
    if engine == "compiled" and keras.backend.backend() == "tensorflow":
        options["jit_compile"] = False  # which takes less time to compile
    made = Network(build or (lambda: model_of(sizes)), engine=engine, **options)
    made.load(data_of(sizes))
    generator = np.random.default_rng(1)
    mask = {key: generator.random(shape) < 0.6 for key, shape in made.mask.shapes.items()}
    made.rewind(dict(made.draw_weights(0)), Mask(mask))
    return made


def threads(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(native, "threads", lambda: count)


def assert_same_training(one: Network, other: Network, steps: int = 200) -> None:
    ours, theirs = one.train(steps, seed=0), other.train(steps, seed=0)
    np.testing.assert_array_equal(ours.step, theirs.step)
    for name in ("train_loss", "validation_loss", "test_loss"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=2e-4, atol=1e-5)
    for name in ("validation_metric", "test_metric"):  # an example that is undecided may fall on either side
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=0.011)
    for key, value in one.weights.items():
        np.testing.assert_allclose(value, other.weights[key], rtol=1e-3, atol=2e-4, err_msg=key)
    np.testing.assert_allclose(one.evaluate_best("test"), other.evaluate_best("test"), rtol=1e-3, atol=0.011)
    assert ours.validation_loss[-1] < 0.8 * ours.validation_loss.max() or ours.train_loss[-1] < ours.train_loss[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_as_the_backend_with(name: str) -> None:
    assert_same_training(*(network(optimizer=OPTIMIZERS[name], engine=engine) for engine in ("native", "compiled")))


@few("batch", [6, 23], 23)
@few("place", [1, 2, 3], 1)
def test_it_trains_networks_of_any_size(place: int, batch: int) -> None:
    made = (network(SIZES[place], batch_size=batch, engine=engine) for engine in ("native", "compiled"))
    assert_same_training(*made)


@few(
    ("activation", "last", "loss", "options"),
    [
        (None, "softmax", LOSS, {}),
        ("relu", None, LOGITS, {}),
        ("relu", "softmax", keras.losses.SparseCategoricalCrossentropy(), {"use_bias": False}),
    ],
    ("relu", None, LOGITS, {}),
    ids=["linear", "logits", "no bias"],
)
def test_it_trains_what_it_says_it_can(activation: Any, last: Any, loss: Any, options: dict[str, Any]) -> None:
    def build() -> keras.Model:
        return model_of(SIZES[0], activation, last, **options)

    assert_same_training(*(network(build=build, loss=loss, engine=engine) for engine in ("native", "compiled")))


@few("name", ["adam", "nesterov"], "adam")
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


def test_what_is_tested_is_what_the_model_gives() -> None:
    made = network()
    made.train(40, seed=0)
    x, y = made.split("test")
    ((loss,), (accuracy,), outputs) = made.engine.program(made).evaluate("test", outputs=True)
    expected = keras.ops.convert_to_numpy(made.model(x))
    assert outputs is not None
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5, atol=1e-6)
    assert accuracy == np.float32((expected.argmax(1) == y).mean())
    np.testing.assert_allclose(loss, -np.log(expected[np.arange(len(y)), y]).mean(), rtol=1e-5)


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
        "trainable kernel and bias",
        {"build": lambda: last_frozen(model_of(SIZES[0])), "prune_frozen": True},
    ),
    "XLA too": ("jit_compile=None", {"jit_compile": True}),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_it_refuses(what: str) -> None:
    message, changes = UNKNOWN[what]
    with pytest.raises(ValueError, match=message):
        network(**changes)


def test_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        def device(self) -> tuple[str, int | None]:
            return "gpu", None

    monkeypatch.setattr(native, "backend", Gpu)
    with pytest.raises(ValueError, match="Expected a CPU .* Received: gpu"):
        network()


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (native_program, dense, sparse, team, barriers):
        monkeypatch.delitem(sys.modules, module.__name__)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'lth_keras\[native\]'"):
        network()


def test_a_thread_that_cannot_be_started_leaves_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    threads(monkeypatch, 4)
    made = network()
    started: list[Any] = []

    class Third(team.Thread):
        def start(self) -> None:
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(self)
            super().start()

    monkeypatch.setattr(team, "Thread", Third)
    with pytest.raises(RuntimeError, match="can't start"):
        made.train(10, seed=0)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


def test_an_error_before_all_have_met_leaves_no_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    # As of a signal's handler, which Python calls in the main thread between any two operations.
    threads(monkeypatch, 2)
    make_train, errors = steps.make_train, [TimeoutError]

    class Interrupted:
        def __init__(self, rule: str) -> None:
            self._compiled = make_train(rule)
            self.compile = self._compiled.compile

        def __call__(self, thread: int, *arguments: Any) -> None:
            if thread == 0 and errors:
                raise errors.pop()
            self._compiled(thread, *arguments)

    monkeypatch.setattr(steps, "make_train", Interrupted)
    made, running = network(), threading.active_count()
    with pytest.raises(TimeoutError):
        made.train(10, seed=0)
    assert threading.active_count() == running
    made.train(10, seed=0)


def test_the_layers_are_found_with_their_activations() -> None:
    layers, softmax = native_chain(network().model, LOSS)
    assert [tuple(layer.kernel.shape) for layer in layers] == [(20, 33), (33, 17), (17, 3)]
    assert [layer.relu for layer in layers] == [True, True, False] and softmax
