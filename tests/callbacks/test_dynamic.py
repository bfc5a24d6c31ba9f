"""Dynamic sparse training: one density, the right weights exchanged, and nothing remembered of those that grow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.callbacks import DynamicSparseTraining
from lth_keras.callbacks.updates import updates_of
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, strip_masks
from lth_keras.pruning import prune
from lth_keras.pruning.densities import erk_counts, uniform_counts
from tests.backend import BACKEND, gradients
from tests.callbacks.cases import SIZE, Witness, X, Y, compiled, dense_model, fit
from tests.few import few

OFTEN: dict[str, Any] = {"end": 20, "frequency": 1, "drop_fraction": 0.5, "schedule": "constant"}
"""Weights are dropped and grow again soon, when the optimiser still knows of them."""


@few("method", ["set", "rigl"], "rigl")
@few("scope", ["erk", "uniform", "layer", "global"], "erk")
def test_each_layer_has_one_density_and_exchanges_the_share_of_the_schedule(method: str, scope: str) -> None:
    before, after, model = Witness(), Witness(), compiled()
    density = 0.8 if scope == "uniform" else 0.4
    training = DynamicSparseTraining(
        density, method=method, begin=4, end=20, frequency=5, scope=scope, data=(X, Y), drop_fraction=0.5
    )
    fit(model, before, training, after)
    dense, kept = Mask.ones(after.masks[1].shapes), round(SIZE * density)
    counts = {"erk": erk_counts, "uniform": uniform_counts}.get(scope)
    if counts is not None:
        assert after.masks[1].counts() == counts(dense, kept)
    assert after.masks[1].kept == kept
    for update, mask in after.masks.items():
        assert mask.counts() == after.masks[1].counts()
        old = before.masks[update]
        if update not in (4, 9, 14, 19):
            assert mask == old
            continue
        share = 0.25 * (1 + math.cos(math.pi * (update - 4) / 16))
        for key in mask:
            swaps = math.floor(share * mask.counts()[key])
            magnitudes = np.abs(before.weights[update][key])
            lowest = old[key] & (magnitudes <= np.sort(magnitudes[old[key]])[swaps - 1]) if swaps else old[key] & False
            assert lowest.sum() >= swaps, "more only where some tie, as weights that grew without a gradient do"
            assert (mask[key] | ~old[key] | lowest).all(), "only the lowest are dropped"
            assert (mask[key] & ~old[key]).sum() <= swaps
    assert scope == "uniform" or after.masks[4] != before.masks[4]


def test_rigl_grows_the_largest_gradients_of_the_weights_that_are_not_kept() -> None:
    before, after, model = Witness(), Witness(), compiled(keras.optimizers.SGD(0.1))
    fit(model, before, DynamicSparseTraining(0.4, method="rigl", data=(X, Y), **OFTEN), after, epochs=1)
    plain = dense_model()
    loss = keras.losses.SparseCategoricalCrossentropy()
    for update in (2, 7):
        old, new, weights = before.masks[update], after.masks[update], before.weights[update]
        # The gradient of a plain model, whose pruned weights are zero.
        for layer in plain.layers[:2]:
            layer.kernel.assign(weights[f"{layer.name}/kernel"] * old[f"{layer.name}/kernel"])
            layer.bias.assign(weights[f"{layer.name}/bias"])
        kernels = [layer.kernel for layer in plain.layers[:2]]
        _, found = gradients(lambda: (loss(Y, plain(X)), None), kernels)
        for key, gradient in zip(old, found, strict=True):
            swaps = old.counts()[key] // 2
            magnitudes = np.abs(weights[key])
            stays = old[key] & (magnitudes > np.sort(magnitudes[old[key]])[swaps - 1])
            highest = ~stays & (np.abs(gradient) >= np.sort(np.abs(gradient[~stays]))[-swaps] * (1 - 1e-5))
            np.testing.assert_array_equal(new[key], stays | highest)


OPTIMIZERS: dict[str, Any] = {
    "Adam": {"use_ema": True, "amsgrad": True},
    "SGD": {"momentum": 0.9},
    "Adagrad": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "AdamW": {"gradient_accumulation_steps": 2},
    "Adadelta": {},
    "Adafactor": {},
    "Adamax": {},
    "Ftrl": {},
    "Lamb": {},
    "Lion": {},
    "Muon": {},
    "Nadam": {},
    "ScheduleFreeAdamW": {},
}


@few("name", OPTIMIZERS, "Adam")
def test_what_grows_starts_at_zero_and_the_optimizer_remembers_nothing_of_it(name: str) -> None:
    if not hasattr(keras.optimizers, name):
        pytest.skip(f"this Keras has no {name}")
    optimizer = getattr(keras.optimizers, name)(0.01, **OPTIMIZERS[name])
    before, after, model = Witness(), Witness(), compiled(optimizer)
    fit(model, before, DynamicSparseTraining(0.6, **OFTEN), after)
    grown = remembered = 0
    for update in after.masks:
        for key, new in after.masks[update].items():
            entries = new & ~before.masks[update][key]
            grown += entries.sum()
            assert not after.weights[update][key][entries].any()
            same = before.weights[update][key][~entries] == after.weights[update][key][~entries]
            assert same.all()
            for kind, slot in after.slots[update][key].items():
                start = np.float32(optimizer.initial_accumulator_value if kind == "accumulator" else 0)
                old = before.slots[update][key][kind]
                remembered += (old[entries] != start).sum()
                np.testing.assert_array_equal(slot, np.where(entries, start, old), err_msg=kind)
    assert grown > 100 and (remembered > 100 or name == "Adafactor")


@pytest.mark.slow
def test_outputs_are_those_of_the_kept_weights_alone() -> None:
    model = compiled(keras.optimizers.Adam(0.01, use_ema=True), jit_compile=True)
    fit(model, DynamicSparseTraining(0.4, **OFTEN))
    assert get_mask(model).kept == round(SIZE * 0.4)
    np.testing.assert_allclose(model.predict(X, verbose=0), strip_masks(model).predict(X, verbose=0), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_float16"])
def test_it_trains_in_any_precision(dtype: str) -> None:
    model = compiled(dtype=dtype)
    fit(model, DynamicSparseTraining(0.4, method="rigl", data=(X, Y), batch_size=16, **OFTEN))
    assert get_mask(model).kept == round(SIZE * 0.4)


@pytest.mark.slow
def test_the_seed_decides_and_a_loaded_model_continues(tmp_path: Path) -> None:
    def trained(seed: int) -> keras.Model:
        model = compiled()
        fit(model, DynamicSparseTraining(0.4, seed=seed, end=20, frequency=4))
        return model

    whole = trained(1)
    assert get_mask(whole) == get_mask(trained(1)) != get_mask(trained(2))
    half = compiled()
    fit(half, DynamicSparseTraining(0.4, seed=1, end=20, frequency=4), epochs=1)
    half.save(tmp_path / "half.keras")
    half = keras.models.load_model(tmp_path / "half.keras")
    fit(half, DynamicSparseTraining(0.4, seed=1, end=20, frequency=4), epochs=1)
    assert get_mask(half) == get_mask(whole)
    if BACKEND != "torch":  # where Keras makes one step an execution
        several = compiled(steps_per_execution=4)
        fit(several, DynamicSparseTraining(0.4, seed=1, end=20, frequency=4))
        assert get_mask(several) == get_mask(whole)


@pytest.mark.slow
def test_a_mask_of_this_density_is_kept_and_frozen_layers_keep_theirs() -> None:
    model = prune(dense_model(), 0.25)
    mask = get_mask(model)
    model.get_layer("hidden").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    fit(model, DynamicSparseTraining(0.25, **OFTEN), witness := Witness())
    assert all((seen["hidden/kernel"] == mask["hidden/kernel"]).all() for seen in witness.masks.values())
    assert (witness.masks[1]["output/kernel"] != mask["output/kernel"]).any()
    model = mask_model(dense_model())
    model.get_layer("hidden").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.warns(UserWarning, match="frozen"):
        fit(model, DynamicSparseTraining(0.25, **OFTEN), epochs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected end, the last update"),
        ({"end": 10, "density": 1.0}, "density between 0 and 1"),
        ({"end": 10, "drop_fraction": 1}, "drop_fraction between 0 and 1"),
        ({"end": 10, "method": "snfs"}, "method to be one of 'set', 'rigl'"),
        ({"end": 10, "method": "rigl"}, r"Expected data=\(x, y\)"),
        ({"end": 10, "schedule": "linear"}, "schedule to be one of 'cosine', 'constant'"),
        ({"end": 10, "scope": "local"}, "scope to be one of"),
        ({"end": 10, "batch_size": 0}, "batch_size to be at least 1"),
        ({"begin": 10, "end": 5}, "end to be after begin"),
        ({"end": 10, "loss": "los"}, "name of a loss"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicSparseTraining(**{"density": 0.2, **arguments})


def test_models_that_it_cannot_train_are_refused() -> None:
    plain = dense_model()
    plain.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="mask_model"):
        fit(plain, DynamicSparseTraining(0.2, end=8))
    model = prune(dense_model(), 0.5)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=r"Expected a dense model, or one of density 0\.2 \(35 of 176 weights\)"):
        fit(model, DynamicSparseTraining(0.2, end=8))
    model = mask_model(dense_model())
    model.get_layer("hidden").enable_lora(2)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="without LoRA"):
        fit(model, DynamicSparseTraining(0.2, end=8))
    with pytest.raises(ValueError, match="Expected examples of shape"):
        fit(compiled(), DynamicSparseTraining(0.2, end=8, method="rigl", data=(X[:, :3], Y)))
    with pytest.raises(ValueError, match="compiled with an optimiser"):
        updates_of(mask_model(dense_model()))


@pytest.mark.parametrize(
    "arguments",
    [{"end": 1000, "frequency": 500}, {"begin": 900, "end": 1000}, {**OFTEN, "drop_fraction": 0.001}],
    ids=["frequency", "begin", "drop_fraction"],
)
def test_a_fit_that_exchanges_no_weights_is_named(arguments: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="Received: none exchanged, in a fit of updates 0 to 12"):
        fit(compiled(), DynamicSparseTraining(0.25, **arguments), epochs=1)


def test_a_fit_after_the_last_exchange_is_not(recwarn: pytest.WarningsRecorder) -> None:
    model, callback = compiled(), DynamicSparseTraining(0.25, end=12, frequency=4)
    for _ in range(2):
        fit(model, callback, epochs=1)
    assert not [one for one in recwarn if "none exchanged" in str(one.message)]
