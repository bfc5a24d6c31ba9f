"""SynFlow: its closed form on chains, conservation, graphs of any shape, and depth without overflow."""

from __future__ import annotations

from functools import reduce
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from lth_keras.backends.linearised import linearised
from lth_keras.criteria import State, criterion
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, variables
from lth_keras.pruning.model_derivatives import ModelDerivatives
from lth_keras.pruning.oneshot import prune

Weights = dict[str, np.ndarray]


def drawn(model: keras.Model, low: float = 0.1, high: float = 1.0) -> tuple[keras.Model, Weights]:
    """The model masked, with all weights drawn, biases and statistics too, of either sign."""
    model, generator = mask_model(model), np.random.default_rng(0)
    for key, variable in variables(model).items():
        value = generator.uniform(low, high, variable.shape)
        signed = value if "variance" in key else value * generator.choice([-1, 1], variable.shape)
        variable.assign(signed)
    return model, {key: keras.ops.convert_to_numpy(v) for key, v in variables(model).items()}


def scores_of(model: keras.Model, weights: Weights, mask: Mask | None = None) -> Weights:
    mask = get_mask(model) if mask is None else mask
    seen = State(weights, mask, np.random.default_rng(0), derivatives=ModelDerivatives(model))
    return {key: np.asarray(score, np.float64) for key, score in criterion("synflow")(seen).items()}


def assert_proportional(scores: Weights, expected: Weights) -> None:
    """Equal but for one positive factor of all of them."""
    factor = sum(map(np.sum, scores.values())) / sum(map(np.sum, expected.values()))
    assert factor > 0
    for key, score in scores.items():
        np.testing.assert_allclose(score, factor * expected[key], rtol=1e-4, atol=1e-6 * score.max())


def chain(sizes: list[int], **dense: Any) -> keras.Model:
    kernels = [layers.Dense(units, name=f"layer_{i}", **dense) for i, units in enumerate(sizes[1:], start=1)]
    return keras.Sequential([keras.Input((sizes[0],)), *kernels])


def closed_form(matrices: dict[str, np.ndarray]) -> Weights:
    """R = 1^T |W_L| ... |W_1| 1 by each |w|, times |w|; matrices are (inputs, outputs), and masked."""
    absolute = {key: np.abs(np.asarray(value, np.float64)) for key, value in matrices.items()}
    values = list(absolute.values())
    ones = np.ones(values[0].shape[0])
    found = {}
    for i, (key, value) in enumerate(absolute.items()):
        before = reduce(np.matmul, values[:i], ones)
        after = reduce(lambda total, matrix: matrix @ total, reversed(values[i + 1 :]), np.ones(values[-1].shape[1]))
        found[key] = before[:, None] * value * after[None, :]
    return found


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid", "softmax"])
def test_a_chain_of_dense_layers_has_its_closed_form(activation: str | None) -> None:
    model, weights = drawn(chain([5, 4, 6, 3], activation=activation))
    generator = np.random.default_rng(1)
    mask = Mask({key: generator.random(shape) < 0.7 for key, shape in get_mask(model).shapes.items()})
    assert_proportional(scores_of(model, weights, mask), closed_form({key: weights[key] * mask[key] for key in mask}))


def test_batch_normalisation_multiplies_and_other_normalisation_does_not() -> None:
    names = {"first": layers.Dense(4, name="first"), "last": layers.Dense(3, name="last")}
    with_batch = layers.BatchNormalization(name="batch")
    model, weights = drawn(
        keras.Sequential([keras.Input((5,)), names["first"], with_batch, layers.LayerNormalization(), names["last"]])
    )
    factor = np.abs(weights["batch/gamma"]) / np.sqrt(weights["batch/moving_variance"] + with_batch.epsilon)
    expected = closed_form({"a": weights["first/kernel"] * factor, "b": weights["last/kernel"]})
    assert_proportional(scores_of(model, weights), {"first/kernel": expected["a"], "last/kernel": expected["b"]})


@pytest.mark.parametrize("kind", ["layers", "operations", "attributes"])
def test_activations_of_any_kind_are_left_out_while_it_is_computed_and_no_longer(kind: str) -> None:
    x = keras.Input((5,))
    if kind == "attributes":
        y = layers.Dense(4, activation=layers.PReLU(), name="layer_1")(x)
        y = layers.Dense(3, activation="gelu", name="layer_2")(y)
    else:
        activations = {
            "layers": [layers.PReLU(), layers.Activation("tanh")],
            "operations": [ops.silu, lambda h: ops.softmax(ops.tanh(h))],
        }[kind]
        y = x
        for number, units, activation in zip((1, 2), (4, 3), activations, strict=True):
            y = activation(layers.Dense(units, name=f"layer_{number}")(y))
    model, weights = drawn(keras.Model(x, y))
    examples = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    before = ops.convert_to_numpy(model(examples))
    expected = closed_form({f"layer_{i}/kernel": weights[f"layer_{i}/kernel"] for i in (1, 2)})
    assert_proportional(scores_of(model, weights), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(examples)), before)


def test_layers_within_a_wrapper_are_linearised_and_those_that_others_are_made_of_are_not() -> None:
    attention, memory = layers.MultiHeadAttention(2, 3, name="attention"), layers.LSTM(4, name="memory")
    inside = layers.TimeDistributed(layers.Dense(4, activation="tanh", name="inside"), name="each")
    h = inside(x := keras.Input((5, 3)))
    model = mask_model(keras.Model(x, layers.Dense(2, name="last")(memory(attention(h, h)))))
    wrapped, memory, attention = (model.get_layer(name) for name in ("each", "memory", "attention"))
    with linearised(model, []):
        assert wrapped.layer.activation(-3.0) == -3.0
        assert memory.cell.activation is keras.activations.tanh
        assert "call" not in vars(attention._softmax)
    assert wrapped.layer.activation is keras.activations.tanh and "call" not in vars(wrapped)


def convolutional() -> keras.Model:
    x = keras.Input((8, 8, 3))
    h = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv_1")(x)
    h = layers.BatchNormalization(name="batch")(h)
    h = layers.MaxPooling2D(2)(h)
    h = layers.Conv2D(5, 3, activation="relu", name="conv_2")(h)
    h = layers.GlobalAveragePooling2D()(h)
    h = layers.Dropout(0.5)(h)
    h = layers.Dense(6, activation="tanh", name="dense_1")(h)
    return keras.Model(x, layers.Dense(3, activation="softmax", name="dense_2")(h))


def sentences() -> keras.Model:
    x = keras.Input((6,), dtype="int32")
    h = layers.Embedding(20, 4, mask_zero=True, name="table")(x)
    h = layers.Conv1D(5, 3, activation="relu", name="conv")(h)
    return keras.Model(x, layers.Dense(2, activation="softmax", name="dense")(layers.GlobalMaxPooling1D()(h)))


@pytest.mark.parametrize("build", [lambda: chain([7, 6, 5, 4], activation="relu"), convolutional, sentences])
def test_the_flow_is_conserved_from_layer_to_layer_and_at_every_hidden_unit(build: Any) -> None:
    model, weights = drawn(build())
    generator = np.random.default_rng(1)
    mask = Mask({key: generator.random(shape) < 0.8 for key, shape in get_mask(model).shapes.items()})
    scores = list(scores_of(model, weights, mask).values())
    totals = [score.sum() for score in scores]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)
    for incoming, outgoing in zip(scores, scores[1:], strict=False):
        into = incoming.reshape(-1, incoming.shape[-1]).sum(axis=0)
        out_of = np.moveaxis(outgoing, -2, 0).reshape(outgoing.shape[-2], -1).sum(axis=1)
        np.testing.assert_allclose(into, out_of, rtol=1e-5)


def test_every_word_of_an_embedding_counts() -> None:
    model, weights = drawn(sentences())
    table = scores_of(model, weights)["table/embeddings"]
    np.testing.assert_allclose(
        table / np.abs(weights["table/embeddings"]),
        np.broadcast_to(table[:1], table.shape) / np.abs(weights["table/embeddings"][:1]),
        rtol=1e-5,
    )


def residual(depth: int, units: int) -> keras.Model:
    h = x = keras.Input((units,))
    for i in range(depth):
        inside = layers.Dense(units, activation="relu", name=f"a_{i}")(h)
        h = h + layers.Dense(units, name=f"b_{i}")(inside)
    return keras.Model(x, h)


def residual_by_hand(weights: Weights, depth: int) -> Weights:
    blocks = [(np.abs(weights[f"a_{i}/kernel"]), np.abs(weights[f"b_{i}/kernel"])) for i in range(depth)]
    blocks = [(a.astype(np.float64), b.astype(np.float64)) for a, b in blocks]
    before = [np.ones(len(blocks[0][0]))]
    for a, b in blocks:
        before.append(before[-1] + before[-1] @ a @ b)
    after, found = np.ones(len(before[0])), {}
    for i, (a, b) in reversed(list(enumerate(blocks))):
        found[f"b_{i}/kernel"] = (before[i] @ a)[:, None] * b * after[None, :]
        found[f"a_{i}/kernel"] = before[i][:, None] * a * (b @ after)[None, :]
        after = after + a @ (b @ after)
    return found


def test_deep_networks_with_and_without_skip_connections_do_not_overflow() -> None:
    model, weights = drawn(chain([64] * 24), 5.0, 10.0)
    expected = closed_form({key: weights[key] for key in get_mask(model)})
    assert max(score.max() for score in expected.values()) > 1e60  # no float32
    assert_proportional(scores_of(model, weights), expected)
    model, weights = drawn(residual(10, 16), 5.0, 10.0)
    expected = residual_by_hand(weights, 10)
    assert max(score.max() for score in expected.values()) > 1e40
    assert_proportional(scores_of(model, weights), expected)


def test_models_within_models_and_branches_of_different_length_keep_their_proportions() -> None:
    x = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="in_1"), layers.Dense(3, name="in_2")], name="in")
    h = layers.Dense(3, name="first")(x)
    model = keras.Model(x, layers.Dense(2, name="last")(inner(h) + layers.Dense(3, name="short")(h)))
    model, weights = drawn(model)
    w = {key: np.abs(np.asarray(value, np.float64)) for key, value in weights.items()}
    first, last = w["first/kernel"], w["last/kernel"]
    in_1, in_2, short = w["in/in_1/kernel"], w["in/in_2/kernel"], w["short/kernel"]
    h_in, back = np.ones(3) @ first, last @ np.ones(2)
    both = in_1 @ in_2 + short
    expected = {
        "first/kernel": first * (both @ back)[None, :],
        "in/in_1/kernel": h_in[:, None] * in_1 * (in_2 @ back)[None, :],
        "in/in_2/kernel": (h_in @ in_1)[:, None] * in_2 * back[None, :],
        "short/kernel": h_in[:, None] * short * back[None, :],
        "last/kernel": (h_in @ both)[:, None] * last,
    }
    assert_proportional(scores_of(model, weights), expected)


def test_inputs_without_a_fixed_shape_take_that_of_the_data() -> None:
    x = keras.Input((None, 3))
    pooled = layers.GlobalAveragePooling1D()(layers.Conv1D(2, 2, name="conv")(x))
    model, weights = drawn(keras.Model(x, layers.Dense(2, name="dense")(pooled)))
    with pytest.raises(ValueError, match=r"Criterion 'own': Expected inputs of fixed shape.*\(None, 3\)"):
        scores_of(model, weights)
    derivatives = ModelDerivatives(model).on(lambda: (np.zeros((4, 6, 3), "float32"), np.zeros(4)))
    flow = derivatives.synaptic_flow(weights, get_mask(model))
    assert all(np.isfinite(flow[key]).all() for key in flow)


def test_a_network_that_is_cut_through_has_no_flow() -> None:
    model, weights = drawn(chain([3, 3, 3]))
    mask = Mask({**get_mask(model), "layer_1/kernel": np.zeros((3, 3), bool)})
    with pytest.raises(ValueError, match="Expected a synaptic flow that differs between weights.*cut through"):
        scores_of(model, weights, mask)


@keras.saving.register_keras_serializable(package="tests")
class Threshold(layers.Layer):  # type: ignore[misc]
    """A step: no derivative passes through it."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.cast(inputs > 0, "float32")


def test_layers_that_the_flow_cannot_be_followed_through_are_named() -> None:
    parts = [layers.Dense(4), layers.BatchNormalization(), Threshold(name="step"), layers.Dense(3)]
    model = keras.Sequential([keras.Input((5,)), *parts])
    with pytest.warns(UserWarning, match=r"ranked at random; it cannot be followed through step \(Threshold\)"):
        prune(model, 0.5, "synflow")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4), Threshold(name="step")])
    with pytest.raises(ValueError, match=r"cannot be followed through step \(Threshold\). Use another") as caught:
        prune(model, 0.5, "synflow")
    assert "dead" not in str(caught.value)
