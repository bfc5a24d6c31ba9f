"""The kernel for kept weights trains as the backend does, to the same bits on any number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lth_keras as lth
from lth_keras import Network
from lth_keras.mask import Mask
from lth_keras.training.engines.native.dense import Dense
from lth_keras.training.engines.native.layout import LANES, ChainPart
from lth_keras.training.engines.native.native_program import SPARSE_BELOW
from lth_keras.training.engines.native.sparse import Sparse
from lth_keras.training.engines.native.sparse_layout import BEGIN, END, FIRST_WEIGHT, ONE, UNIT, SparseLayout
from tests.few import few
from tests.training.engines.test_native import OPTIMIZERS, assert_same_training, model_of, threads
from tests.training.engines.test_native import network as network_of

SIZES = (20, 33, 17, 3)


def sparse(sizes: Sequence[int] = SIZES, *, density: float = 0.15, engine: str = "native", **changes: Any) -> Network:
    """A network with a random mask of this density, whose units have all been left an input or not, as it falls."""
    made = network_of(sizes, engine=engine, **changes)
    generator = np.random.default_rng(2)
    mask = {key: generator.random(shape) < density for key, shape in made.mask.shapes.items()}
    made.rewind(dict(made.draw_weights(0)), Mask(mask))
    return made


def kernel_of(network: Network) -> Any:
    return network.engine.program(network)._kernel  # type: ignore[attr-defined]


@few("name", list(OPTIMIZERS), "adam")
def test_it_trains_as_the_backend_with(name: str) -> None:
    one, other = (sparse(optimizer=OPTIMIZERS[name], engine=engine) for engine in ("native", "compiled"))
    assert_same_training(one, other)
    assert isinstance(kernel_of(one), Sparse)


@few(
    ("sizes", "batch"),
    [((16, 48, 5, 50, 4), 60), ((95, 97, 2), 130), ((17, 3), 7), ((33, 64, 3), 33)],
    ((95, 97, 2), 130),
)
def test_it_trains_networks_of_any_size(sizes: Sequence[int], batch: int) -> None:
    assert_same_training(*(sparse(sizes, batch_size=batch, engine=engine) for engine in ("native", "compiled")))


@few("options", [{"use_bias": False}, {"activation": None}, {"last": None}], {"use_bias": False})
def test_it_trains_what_it_says_it_can(options: dict[str, Any]) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits="last" in options)

    def build() -> keras.Model:
        return model_of(SIZES, **options)

    # A mask without biases that is so sparse trains little.
    assert_same_training(
        *(sparse(build=build, loss=loss, engine=engine, density=0.19) for engine in ("native", "compiled"))
    )


@few("name", ["adam", "nesterov"], "adam")
def test_bits_do_not_depend_on_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for count in (1, 2, 3, 7):
        threads(monkeypatch, count)
        made = sparse((95, 97, 60, 2), optimizer=OPTIMIZERS[name])
        curves = made.train(120, seed=0)
        found.append((curves.train_loss, curves.validation_loss, *dict(made.weights).values()))
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_bits_do_not_depend_on_how_a_training_is_cut_into_calls() -> None:
    whole, cut = sparse(), sparse()
    whole.train(130, seed=3)
    cut.train(130, seed=3, after={n: lambda: None for n in (1, 7, 50, 99)})
    for key, value in whole.weights.items():
        np.testing.assert_array_equal(value, cut.weights[key])


def test_what_is_tested_is_what_the_model_gives() -> None:
    made = sparse()
    made.train(40, seed=0)
    x, y = made.split("test")
    ((loss,), (accuracy,), outputs) = made.engine.program(made).evaluate("test", outputs=True)
    expected = keras.ops.convert_to_numpy(made.model(x))
    assert outputs is not None
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-5, atol=1e-6)
    assert accuracy == np.float32((expected.argmax(1) == y).mean())
    np.testing.assert_allclose(loss, -np.log(expected[np.arange(len(y)), y]).mean(), rtol=1e-5)


def test_the_mask_alone_decides_between_the_kernels() -> None:
    made = sparse(density=0.1)
    for density, kind in ((SPARSE_BELOW + 0.1, Dense), (SPARSE_BELOW - 0.1, Sparse), (1.0, Dense)):
        generator = np.random.default_rng(5)
        mask = {key: generator.random(shape) < density for key, shape in made.mask.shapes.items()}
        made.rewind(dict(made.draw_weights(0)), Mask(mask))
        made.train(2, seed=0)
        assert isinstance(kernel_of(made), kind)


def test_few_inputs_are_left_to_the_dense_kernel() -> None:
    made = sparse((LANES - 1, 30, 3))
    made.train(2, seed=0)
    assert isinstance(kernel_of(made), Dense)


@pytest.fixture(scope="module")
def cut_off() -> tuple[Network, Network, dict[str, np.ndarray]]:
    """Networks trained with a mask of units without inputs, units without outputs and unused inputs."""
    made = [sparse((20, 8, 6, 3), engine=engine) for engine in ("native", "compiled")]
    first, second, third = np.zeros((20, 8), bool), np.zeros((8, 6), bool), np.zeros((6, 3), bool)
    first[::3, :4] = True  # units 4 ... 7 have no inputs
    second[2:6, :3] = True  # units 0, 1, 6 and 7 lead nowhere, nor do 3 ... 5 of the next layer get anything
    third[1:5] = True  # unit 0 leads nowhere; 3 and 4 are constants
    mask = dict(zip(made[0].mask.shapes, (first, second, third), strict=True))
    start = dict(made[0].draw_weights(0))
    generator = np.random.default_rng(0)
    start |= {key: generator.normal(size=w.shape).astype(np.float32) for key, w in start.items() if w.ndim == 1}
    for network in made:
        network.rewind(start, Mask(mask))
        network.train(60, seed=0)
    return made[0], made[1], start


def test_units_without_inputs_are_constants_that_learn(cut_off: tuple[Network, Network, Any]) -> None:
    ours, theirs, start = cut_off
    assert isinstance(kernel_of(ours), Sparse)
    for key, value in ours.weights.items():
        np.testing.assert_allclose(value, theirs.weights[key], rtol=1e-4, atol=1e-5, err_msg=key)
    bias = next(key for key in start if key.endswith("dense_1/bias") or start[key].shape == (6,))
    moved = ours.weights[bias] != start[bias]
    assert moved[3] or moved[4]


def test_what_leads_nowhere_stays_as_it_was(cut_off: tuple[Network, Network, Any]) -> None:
    ours, _, start = cut_off
    first = next(key for key in start if start[key].shape == (8,))
    np.testing.assert_array_equal(ours.weights[first][[0, 1, 6, 7]], start[first][[0, 1, 6, 7]])


def test_pruned_weights_are_zero(cut_off: tuple[Network, Network, Any]) -> None:
    ours, _, _ = cut_off
    for key, kept in ours.mask.items():
        assert not ours.weights[key][~kept].any()


def test_a_network_that_is_cut_through_learns_its_last_biases() -> None:
    made = [sparse((20, 8, 3), engine=engine) for engine in ("native", "compiled")]
    masks = {key: np.zeros(shape, bool) for key, shape in made[0].mask.shapes.items()}
    start = dict(made[0].draw_weights(0))
    for network in made:
        network.rewind(start, Mask(masks))
        network.train(60, seed=0)
    for key, value in made[0].weights.items():
        np.testing.assert_allclose(value, made[1].weights[key], rtol=1e-4, atol=1e-6, err_msg=key)


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[ChainPart], list[np.ndarray]]:
    sizes = [draw(st.integers(LANES, 70)), *draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))]
    generator = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    density = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]))
    masks = [generator.random(shape) < density for shape in zip(sizes, sizes[1:], strict=False)]
    layers = []
    for mask in masks:
        bias = generator.normal(size=mask.shape[1]).astype(np.float32) if draw(st.booleans()) else None
        kernel = generator.normal(size=mask.shape).astype(np.float32)
        layers.append(ChainPart(kernel, mask, bias, draw(st.booleans())))
    return layers, masks


@given(chains())
def test_the_layout_holds_every_weight_that_reaches_an_output_once(given: Any) -> None:
    layers, masks = given
    layout = SparseLayout(layers, masks)
    numbers = np.zeros(layout.weights, np.float32)
    layout.read(numbers)
    back = layout.values(numbers)
    x = np.random.default_rng(0).normal(size=masks[0].shape[0]).astype(np.float32)
    expected = x
    for layer, mask in zip(layers, masks, strict=True):
        np.testing.assert_array_equal(back[id(layer.kernel)], layer.kernel * mask)
        expected = expected @ (layer.kernel * mask) + (0 if layer.bias is None else layer.bias)
        expected = np.maximum(expected, 0) if layer.relu else expected
    np.testing.assert_allclose(by_columns(layout, numbers, x, layers), expected, rtol=1e-4, atol=1e-4)
    assert not (layout.tables.blocks[:, FIRST_WEIGHT:] % LANES).any()
    found = {
        (int(layout.tables.sources[place]), unit): place
        for unit, begin, end in layout.tables.columns
        for place in range(begin, end)
    }
    for row in layout.tables.rows:
        for i in range(row[BEGIN], row[END]):
            assert found.pop((int(row[UNIT]), int(layout.tables.to[i]))) == layout.tables.places[i]
    inputs = masks[0].shape[0]
    assert all(source == ONE or 1 <= source <= inputs for source, _ in found)


def by_columns(layout: SparseLayout, weights: np.ndarray, x: np.ndarray, layers: Sequence[ChainPart]) -> np.ndarray:
    """The outputs, computed from the columns in numpy."""
    values = np.zeros(layout.units, np.float32)
    values[ONE], values[1 : 1 + len(x)] = 1, x
    relu: Mapping[int, bool] = dict(_relus(layers))
    for unit, begin, end in layout.tables.columns:
        total = weights[begin:end] @ values[layout.tables.sources[begin:end]]
        values[unit] = max(total, 0) if relu[int(unit)] else total
    return values[layout.first_output :]


def _relus(layers: Sequence[ChainPart]) -> list[tuple[int, bool]]:
    start, found = 1 + layers[0].kernel.shape[0], []
    for layer in layers:
        found += [(start + i, layer.relu) for i in range(layer.kernel.shape[1])]
        start += layer.kernel.shape[1]
    return found


@few("last", ["softmax", None], "softmax")
def test_a_forward_pass_gives_the_models_outputs(last: str | None) -> None:
    model = model_of((20, 33, 17, 3), last=last)
    model = keras.Sequential([keras.Input((4, 5)), keras.layers.Flatten(), *model.layers])
    pruned = lth.prune(model, 0.1)
    forward = lth.sparse_forward(pruned)
    generator = np.random.default_rng(0)
    for examples in (1, 16, 17, 64, 700):
        x = generator.normal(size=(examples, 4, 5)).astype(np.float32)
        found = forward(x)
        assert found.shape == (examples, 3) and found.dtype == np.float32
        np.testing.assert_allclose(found, keras.ops.convert_to_numpy(pruned(x)), rtol=1e-5, atol=1e-6)
    assert forward(np.zeros((0, 4, 5))).shape == (0, 3)


def test_a_forward_pass_names_what_it_cannot_do() -> None:
    forward = lth.sparse_forward(lth.prune(model_of((20, 8, 3)), 0.5))
    with pytest.raises(ValueError, match=r"20 numbers each. Received: \(4, 19\)"):
        forward(np.zeros((4, 19), np.float32))
    with pytest.raises(ValueError, match="at least 16 inputs. Received: 5"):
        lth.sparse_forward(lth.prune(model_of((5, 8, 3)), 0.5))
    with pytest.raises(ValueError, match="ReLU or no activation"):
        lth.sparse_forward(lth.prune(model_of((20, 8, 3), "tanh"), 0.5))
