"""SNIP and GraSP against finite differences in float64 of networks written by hand; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from lth_keras.backends.derivatives import tempered
from lth_keras.criteria import State, criterion
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, variables
from lth_keras.pruning.model_derivatives import ModelDerivatives
from tests.backend import EAGER
from tests.few import few

LOSS = "sparse_categorical_crossentropy"
Weights = dict[str, np.ndarray]
Forward = Callable[[Weights, np.ndarray], np.ndarray]


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Without padding; `(n, height, width, channels)` by `(h, w, channels, filters)`."""
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    return np.einsum("nijchw,hwcf->nijf", windows, kernel)


def images() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(3, 2, activation="tanh", name="conv"),
            layers.AveragePooling2D(3, name="pool"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="tanh", name="hidden"),
            layers.Dense(3, activation="softmax", name="output"),
        ]
    )


def images_and_examples(count: int) -> tuple[keras.Model, np.ndarray, np.ndarray, Weights]:
    """A masked model, images and labels for it, and its weights."""
    model, generator = mask_model(images()), np.random.default_rng(0)
    x, y = generator.normal(size=(count, 4, 4, 2)).astype("float32"), generator.integers(0, 3, count)
    return model, x, y, {key: keras.ops.convert_to_numpy(v) for key, v in variables(model).items()}


def images_by_hand(w: Weights, x: np.ndarray) -> np.ndarray:
    h = np.tanh(convolve(x, w["conv/kernel"]) + w["conv/bias"]).mean(axis=(1, 2))
    h = np.tanh(h @ w["hidden/kernel"] + w["hidden/bias"])
    return h @ w["output/kernel"] + w["output/bias"]


def words() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(6, 3, name="table"),
            layers.Conv1D(2, 2, activation="tanh", name="conv"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, activation="softmax", name="output"),
        ]
    )


def words_by_hand(w: Weights, x: np.ndarray) -> np.ndarray:
    rows = w["table/embeddings"][x][:, :, None, :]
    h = np.tanh(convolve(rows, w["conv/kernel"][:, None])[:, :, 0] + w["conv/bias"]).mean(axis=1)
    return h @ w["output/kernel"] + w["output/bias"]


def mean_loss(logits: np.ndarray, y: np.ndarray, temperature: float) -> float:
    logits = logits / temperature
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log_probabilities[np.arange(len(y)), y].mean())


class Reference:
    """The loss in float64 as a function of one factor for each prunable weight: its mask, made continuous."""

    def __init__(self, forward: Forward, weights: Weights, mask: Mask, x: np.ndarray, y: np.ndarray) -> None:
        self.weights = {key: np.asarray(value, np.float64) for key, value in weights.items()}
        self.forward, self.mask, self.x, self.y = forward, mask, x, y
        self.at = np.concatenate([mask[key].ravel().astype(np.float64) for key in mask])

    def loss(self, factors: np.ndarray, temperature: float = 1.0) -> float:
        return mean_loss(
            self.forward({**self.weights, **self.split(factors, masked=True)}, self.x), self.y, temperature
        )

    def split(self, factors: np.ndarray, masked: bool = False) -> Weights:
        parts = np.split(factors, np.cumsum(list(self.mask.sizes.values()))[:-1])
        shaped = {key: part.reshape(shape) for (key, shape), part in zip(self.mask.shapes.items(), parts, strict=True)}
        return {key: self.weights[key] * part if masked else part for key, part in shaped.items()}

    def slopes(self, function: Callable[[np.ndarray], Any], step: float) -> np.ndarray:
        """Central differences of a function of the factors, by each of them."""
        rows = np.eye(len(self.at)) * step
        return np.array([(function(self.at + row) - function(self.at - row)) / (2 * step) for row in rows])


@pytest.fixture(
    params=[
        pytest.param((images, images_by_hand), marks=pytest.mark.slow, id="images"),
        pytest.param((words, words_by_hand), id="words"),
    ]
)
def case(request: pytest.FixtureRequest) -> tuple[keras.Model, Reference]:
    build, forward = request.param
    model = mask_model(build())
    generator = np.random.default_rng(0)
    for variable in variables(model).values():
        variable.assign(generator.normal(scale=0.5, size=variable.shape))
    inputs = model.inputs[0]
    x = generator.integers(0, 6, (7, 4)) if "int" in inputs.dtype else generator.normal(size=(7, *inputs.shape[1:]))
    x = x.astype(inputs.dtype)
    mask = Mask({key: generator.random(shape) < 0.8 for key, shape in get_mask(model).shapes.items()})
    weights = {key: keras.ops.convert_to_numpy(v) for key, v in variables(model).items()}
    return model, Reference(forward, weights, mask, x, generator.integers(0, 3, 7))


def scores_of(name: str, model: keras.Model, reference: Reference) -> np.ndarray:
    derivatives = ModelDerivatives(model, LOSS).on(lambda: (reference.x, reference.y))
    weights = {key: value.astype("float32") for key, value in reference.weights.items()}
    scores = criterion(name)(State(weights, reference.mask, np.random.default_rng(0), derivatives=derivatives))
    return np.concatenate([scores[key].ravel() for key in reference.mask])


def assert_close(received: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(received, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


def test_snip_is_the_slope_of_the_loss_by_the_mask(case: tuple[keras.Model, Reference]) -> None:
    model, reference = case
    slopes = reference.slopes(reference.loss, 1e-5)
    kept = reference.at == 1
    assert 0.6 < kept.mean() < 0.95 and (slopes[kept] != 0).mean() > 0.8
    assert_close(scores_of("snip", model, reference)[kept], np.abs(slopes[kept]))


def test_grasp_is_half_of_what_the_gradient_flow_loses_in_first_order(case: tuple[keras.Model, Reference]) -> None:
    # By the weight w: flow(w) = |g|^2, d flow = 2 Hg dw. Removing it is dw = -w, or -1 of its factor c in w * c.
    model, reference = case
    kept = reference.at == 1
    values = np.concatenate([reference.weights[key].ravel() for key in reference.mask])

    def flow(factors: np.ndarray) -> float:
        there = reference.at
        reference.at = factors
        by_factor = reference.slopes(lambda at: reference.loss(at, temperature=200), 5e-3)
        reference.at = there
        return float(((by_factor / values)[kept] ** 2).sum())

    change_of_flow = -reference.slopes(flow, 5e-3)
    assert (change_of_flow[kept] < 0).mean() > 0.1 and (change_of_flow[kept] > 0).mean() > 0.1
    scores = scores_of("grasp", model, reference)[kept]
    assert_close(scores, -change_of_flow[kept] / 2)
    assert_close(scores_of("grasp_magnitude", model, reference)[kept], np.abs(scores))


def test_without_a_temperature_hessian_gradients_are_those_of_the_loss(case: tuple[keras.Model, Reference]) -> None:
    model, reference = case
    derivatives = ModelDerivatives(model, LOSS).on(lambda: (reference.x, reference.y))
    weights = {key: value.astype("float32") for key, value in reference.weights.items()}
    state = State(weights, reference.mask, np.random.default_rng(0), derivatives=derivatives)
    direction = np.concatenate([(state.gradients[key] * reference.mask[key]).ravel() for key in reference.mask])
    values = np.concatenate([reference.weights[key].ravel() for key in reference.mask])
    kept = reference.at == 1

    def along(factors: np.ndarray) -> np.ndarray:
        there = reference.at
        reference.at = factors
        by_factor = reference.slopes(reference.loss, 1e-4)
        reference.at = there
        return by_factor / values

    step = 1e-4 * direction / values
    expected = (along(reference.at + step) - along(reference.at - step)) / 2e-4
    received = np.concatenate([state.hessian_gradients[key].ravel() for key in reference.mask])
    assert_close(received[kept], expected[kept])


def test_large_batches_are_those_of_their_parts() -> None:
    model, x, y, weights = images_and_examples(520)
    mask = get_mask(model)

    def found(rows: slice) -> tuple[Any, Any]:
        derivatives = ModelDerivatives(model, LOSS).on(lambda: (x[rows], y[rows]))
        return derivatives.gradients(weights, mask), derivatives.hessian_gradients(weights, mask)

    gradients, products = found(slice(None))
    parts = [found(slice(start, start + 130))[0] for start in range(0, 520, 130)]
    for key in mask:
        np.testing.assert_allclose(gradients[key], np.mean([part[key] for part in parts], axis=0), atol=1e-6)
        assert np.isfinite(products[key]).all()


def test_logits_and_other_losses_have_their_temperature_or_none() -> None:
    logits = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, -9.0]], "float32")
    from_logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    np.testing.assert_allclose(tempered(from_logits, logits, 4.0), logits / 4)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(logits / 4))
    probabilities = keras.ops.softmax(logits)
    for loss in (LOSS, "categorical_crossentropy", keras.losses.CategoricalCrossentropy()):
        np.testing.assert_allclose(tempered(loss, probabilities, 4.0), expected, rtol=1e-5)
    for loss in ("binary_crossentropy", "mse"):
        assert tempered(loss, logits, 4.0) is logits


def test_nothing_is_traced_before_it_is_asked_for_and_then_once_whatever_the_mask() -> None:
    model, x, y, weights = images_and_examples(9)
    generator = np.random.default_rng(0)
    bound = ModelDerivatives(model, LOSS).on(lambda: (x, y))
    before = {key: value.copy() for key, value in weights.items()}
    assert bound.traces == 0
    traced = []
    for share in (1.0, 0.7, 0.4):
        mask = Mask({key: generator.random(shape) < share for key, shape in get_mask(model).shapes.items()})
        for derive in (bound.gradients, bound.hessian_gradients, bound.synaptic_flow):
            found = derive({key: value * share for key, value in weights.items()}, mask)
            assert all(not found[key][~mask[key]].any() and found[key][mask[key]].any() for key in mask)
        traced.append(bound.traces)
    assert traced[0] > 0 and (EAGER or traced == traced[:1] * 3)
    for key, value in variables(model).items():
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(value), before[key])
    assert get_mask(model).density == 1


def test_the_same_bits_each_time() -> None:
    model, x, y, weights = images_and_examples(9)
    mask = get_mask(model)
    one, other = (ModelDerivatives(model, LOSS).on(lambda: (x, y)).hessian_gradients(weights, mask) for _ in range(2))
    assert all(one[key].tobytes() == other[key].tobytes() for key in mask)


def test_what_is_missing_or_says_nothing_is_an_error() -> None:
    model = mask_model(images())
    weights = {key: keras.ops.convert_to_numpy(v) for key, v in variables(model).items()}
    mask, x, y = get_mask(model), np.ones((2, 4, 4, 2), "float32"), np.zeros(2, "int32")

    def state(loss: Any = LOSS, **changes: np.ndarray) -> State:
        derivatives = ModelDerivatives(model, loss)
        derivatives = derivatives.on(lambda: (x, y)) if "x" not in changes else derivatives
        changed = {key.replace("_", "/"): value for key, value in changes.items() if key != "x"}
        return State({**weights, **changed}, mask, np.random.default_rng(0), derivatives=derivatives, criterion="snip")

    with pytest.raises(ValueError, match=r"Criterion 'snip': Expected data=\(x, y\).*Received: no data\."):
        state(x=x).gradients  # noqa: B018
    with pytest.raises(ValueError, match="Received: no loss"):
        state(loss=None).gradients  # noqa: B018
    with pytest.raises(ValueError, match="Criterion 'snip': Expected a finite gradient.*conv/kernel"):
        state(conv_kernel=np.full((2, 2, 2, 3), np.nan, "float32")).gradients  # noqa: B018
    saturated = {"output_bias": np.array([1e4, 0, 0], "float32")}
    with pytest.raises(
        ValueError, match="Criterion 'snip'.*zero for all weights of conv/kernel, hidden/kernel, output"
    ):
        state(**saturated).gradients  # noqa: B018
    with pytest.warns(
        UserWarning, match="gradient is zero for all weights of conv/kernel, output/kernel: they are ranked at random"
    ):
        state(hidden_kernel=np.zeros((3, 5), "float32")).gradients  # noqa: B018


@few(
    ("name", "policy"),
    [("snip", "mixed_float16"), ("synflow", "mixed_float16"), ("snip", "float16")]
    + [("grasp", "mixed_float16"), ("grasp", "mixed_bfloat16")],
    ("snip", "mixed_float16"),
)
def test_scores_are_computed_in_float32_whatever_the_network_computes_in(name: str, policy: str) -> None:
    def build(dtype: str) -> keras.Model:
        options: dict[str, Any] = {"dtype": dtype}
        parts = [
            *(layer for _ in range(3) for layer in (layers.Conv2D(4, 3, padding="same", **options), layers.ReLU())),
            layers.BatchNormalization(**options),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", **options),
        ]
        return mask_model(keras.Sequential([keras.Input((4, 4, 2)), *parts]))

    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 4, 4, 2)).astype("float32")
    y = generator.integers(0, 3, 40)
    narrow, wide = build(policy), build("float32")
    for one, other in zip(variables(wide).values(), variables(narrow).values(), strict=True):
        other.assign(np.abs(generator.normal(scale=0.05, size=one.shape)) + 0.01)
        one.assign(keras.ops.cast(other, "float32"))
    found = []
    for model in (narrow, wide):
        derivatives = ModelDerivatives(model, LOSS).on(lambda: (x, y))
        weights = {key: keras.ops.convert_to_numpy(value) for key, value in variables(model).items()}
        state = State(weights, get_mask(model), np.random.default_rng(0), derivatives=derivatives)
        scores = criterion(name)(state)
        found.append(np.concatenate([np.asarray(scores[key], np.float64).ravel() for key in state.mask]))
    assert (found[0] != 0).mean() == (found[1] != 0).mean() > 0.9
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4 * np.abs(found[1]).max())
    if policy != "float16":
        assert narrow.layers[0].compute_dtype == policy.removeprefix("mixed_")
