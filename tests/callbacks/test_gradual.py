"""Gradual pruning while `fit` runs: exact densities at the right updates, with current weights, under any optimiser."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lth_keras.callbacks import GradualPruning
from lth_keras.callbacks.updates import updates_of
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, set_mask, strip_masks, variables
from lth_keras.pruning import prune
from tests.backend import BACKEND
from tests.callbacks.cases import BATCH, BATCHES, SIZE, Witness, X, Y, compiled, dense_model, fit, nested
from tests.few import few


def polynomial(update: int, density: float, begin: int, end: int, initial: float = 1.0) -> int:
    """Weights left by equation 1 of Zhu & Gupta (2017), in terms of sparsity as they have it."""
    final_sparsity, initial_sparsity = 1 - density, 1 - initial
    share = (1 - (update - begin) / (end - begin)) ** 3
    return round(SIZE * (1 - (final_sparsity + (initial_sparsity - final_sparsity) * share)))


def test_groups_have_densities_of_their_own_from_one_start_on() -> None:
    model, witness = compiled(), Witness()
    first, *others = get_mask(model)
    sizes = get_mask(model).sizes
    pruning = GradualPruning({"first": 0.5, "*": 0.25}, begin=1, end=9, frequency=4, initial_density=0.75)
    fit(model, pruning, witness)
    for update, density in ((1, 0.75), (5, 0.5 + 0.25 / 8), (9, 0.5)):
        assert witness.masks[update].counts()[first] == round(sizes[first] * density)
    assert sum(get_mask(model).counts()[key] for key in others) == round(sum(sizes[key] for key in others) * 0.25)
    assert nested(list(witness.masks.values()))
    assert pruning.density_at(5) == {"first": 0.5 + 0.25 / 8, "*": 0.25 + 0.5 / 8}
    with pytest.raises(ValueError, match="density to have an entry for every weight"):
        fit(model, GradualPruning({"first": 0.5}, end=9))


@few("scope", ["global", "layer", "uniform", "erk"], "global")
def test_the_density_is_that_of_the_schedule_after_each_update_and_changes_at_no_other(scope: str) -> None:
    # 128 of 176 weights are in the first layer, which uniform scope keeps.
    density, initial = (0.8, 0.9) if scope == "uniform" else (0.2, 0.8)
    witness, model = Witness(), compiled()
    pruning = GradualPruning(
        density, begin=3, end=14, frequency=4, initial_density=initial, scope=scope, criterion="magnitude"
    )
    fit(model, pruning, witness)
    points = {1: SIZE, 3: 0, 7: 0, 11: 0, 14: 0}
    expected, left = {}, SIZE
    for update in range(1, 2 * BATCHES + 1):
        if update in points and update > 1:
            left = polynomial(update, density, 3, 14, initial)
        expected[update] = left
    assert {update: mask.kept for update, mask in witness.masks.items()} == expected
    assert witness.masks[14].kept == round(SIZE * density)
    assert nested(list(witness.masks.values()))


def test_it_keeps_the_weights_that_are_largest_at_that_update() -> None:
    before, after, model = Witness(), Witness(), compiled()
    fit(model, before, GradualPruning(0.25, begin=0, end=20, frequency=5), after)
    for update in (5, 10, 15, 20):
        assert before.masks[update] == after.masks[update - 1]
        weights, mask = before.weights[update], before.masks[update]
        magnitudes = np.concatenate([np.abs(weights[key][mask[key]]) for key in mask])
        kept = polynomial(update, 0.25, 0, 20)
        threshold = np.sort(magnitudes)[-kept]
        assert all(
            (after.masks[update][key] == (mask[key] & (np.abs(weights[key]) >= threshold))).all() for key in mask
        )


def test_the_next_update_is_made_with_the_new_mask() -> None:
    # Plain SGD changes a weight only where its gradient is not zero.
    witness, model = Witness(), compiled(keras.optimizers.SGD(0.1), jit_compile="auto")
    fit(model, GradualPruning(0.3, begin=2, end=16, frequency=3), witness)
    moved = 0
    for update in range(1, 2 * BATCHES):
        for key, mask in witness.masks[update].items():
            change = witness.weights[update + 1][key] != witness.weights[update][key]
            assert not change[~mask].any(), (update, key)
            moved += change[mask].sum()
    assert moved > 1000


OPTIMIZERS: dict[str, Any] = {
    "adam, clipnorm": lambda: keras.optimizers.Adam(0.01, clipnorm=1.0),
    "momentum, accumulation": lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "averages": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.8),
    "averages that overwrite": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=4),
    "weight decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=1.0),
}


@few("name", OPTIMIZERS, "momentum, accumulation")
def test_updates_are_those_of_the_optimizer_and_pruned_weights_are_out_of_the_model(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    witness, model = Witness(), compiled(optimizer)
    batches = optimizer.gradient_accumulation_steps or 1
    fit(model, GradualPruning(0.2, end=20, frequency=5), witness, epochs=2 * batches)
    assert list(witness.masks) == list(range(0 if batches > 1 else 1, 25))
    for update in (5, 10, 15, 20, 24):
        assert witness.masks[update].kept == polynomial(min(update, 20), 0.2, 0, 20), update
    assert nested(list(witness.masks.values()))
    np.testing.assert_allclose(model.predict(X, verbose=0), strip_masks(model).predict(X, verbose=0), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_it_prunes_in_any_precision(dtype: str) -> None:
    witness, model = Witness(), compiled(dtype=dtype)
    fit(model, GradualPruning(0.2, end=20, frequency=5), witness)
    assert {update: witness.masks[update].kept for update in (5, 20)} == {
        update: polynomial(update, 0.2, 0, 20) for update in (5, 20)
    }
    assert nested(list(witness.masks.values()))


@pytest.mark.slow
def test_batches_that_loss_scaling_skips_are_no_updates() -> None:
    inner = keras.optimizers.Adam(0.01)
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**30)
    witness, model = Witness(), compiled(scaled, dtype="mixed_float16")
    fit(model, GradualPruning(0.5, end=6, frequency=2), witness, epochs=3)
    made = max(witness.masks)
    assert 6 < made < 3 * BATCHES
    for update in range(1, made + 1):
        point = min(update, 6) // 2 * 2
        assert witness.masks[update].kept == polynomial(point, 0.5, 0, 6), update


several_steps = pytest.mark.skipif(BACKEND == "torch", reason="there Keras makes one step an execution")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [pytest.param({"steps_per_execution": 4}, marks=several_steps), {"run_eagerly": True}, {"jit_compile": "auto"}],
)
def test_the_way_of_running_changes_nothing(options: dict[str, Any]) -> None:
    models = []
    for how in ({}, options):
        model = compiled(**how)
        fit(model, GradualPruning(0.2, begin=4, end=20, frequency=8))
        models.append(model)
    assert get_mask(models[0]) == get_mask(models[1])
    for one, other in zip(*(variables(model).values() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@several_steps
@pytest.mark.slow
def test_between_the_ends_of_executions_it_prunes_at_the_next_one() -> None:
    witness, model = Witness(), compiled(steps_per_execution=3)
    fit(model, GradualPruning(0.2, end=20, frequency=4), witness)
    reached = {3: 0, 6: 4, 9: 8, 12: 12, 15: 12, 18: 16, 21: 20, 24: 20}
    assert {update: mask.kept for update, mask in witness.masks.items()} == {
        update: polynomial(point, 0.2, 0, 20) for update, point in reached.items()
    }


@few("kind", ["fits", "file", "weights"], "file")
def test_a_training_that_stops_continues_as_if_it_had_not(kind: str, tmp_path: Path) -> None:
    def pruning() -> GradualPruning:
        return GradualPruning(0.2, begin=2, end=20, frequency=3, criterion="random")

    whole = compiled()
    fit(whole, first := pruning(), epochs=2)
    half = compiled()
    with pytest.warns(UserWarning, match=r"density 0\.2 from update 20 on. Received: .* after update 12; another fit"):
        fit(half, callback := pruning(), epochs=1)
    if kind == "file":
        half.save(tmp_path / "half.keras")
        half, callback = keras.models.load_model(tmp_path / "half.keras"), pruning()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        if kind == "weights":
            backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
            backup.set_model(half)
            backup.on_epoch_end(0)
            half = compiled()
            fit(half, pruning(), backup, epochs=2)
        else:
            fit(half, callback, epochs=1)
    assert updates_of(half) == updates_of(whole) == 24
    assert get_mask(half) == get_mask(whole)
    for one, other in zip(variables(half).values(), variables(whole).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert first.density_at(20) == 0.2


@pytest.mark.slow
def test_constant_prunes_once_by_any_criterion_with_the_loss_that_the_model_has() -> None:
    witness, model = Witness(), compiled(loss_weights=None)
    dense = dense_model()
    expected = get_mask(prune(dense, 0.4, "snip", data=(X, Y), loss="sparse_categorical_crossentropy"))
    fit(model, GradualPruning(0.4, schedule="constant", criterion="snip", data=(X, Y)), witness, epochs=1)
    assert list(witness.masks.values()) == [expected] * BATCHES
    moved = GradualPruning(0.4, schedule="constant", begin=5, criterion="movement", initial=model.get_weights())
    model = compiled()
    fit(model, moved, witness := Witness(), epochs=1)
    assert [mask.kept for mask in witness.masks.values()] == [SIZE] * 4 + [round(SIZE * 0.4)] * (BATCHES - 4)


def test_a_loop_of_ones_own_calls_it() -> None:
    model = compiled()
    callbacks = keras.callbacks.CallbackList([GradualPruning(0.2, end=8, frequency=2)], model=model)
    callbacks.on_train_begin()
    for batch in range(10):
        rows = slice(BATCH * batch, BATCH * (batch + 1))
        model.train_on_batch(X[rows], Y[rows])
        callbacks.on_train_batch_end(batch)
        assert get_mask(model).kept == polynomial(min(8, (batch + 1) // 2 * 2), 0.2, 0, 8)
    callbacks.on_train_end()


def test_it_warns_where_the_optimizer_is_past_the_schedule_and_says_what_to_do() -> None:
    model = compiled()
    fit(model, epochs=1)
    with pytest.warns(UserWarning, match=r"from density 1 to 0\.199 at once, since the optimiser has made 12 updates"):
        fit(model, GradualPruning(0.2, end=8, frequency=2), epochs=1)
    assert get_mask(model).kept == round(SIZE * 0.2)


@pytest.mark.slow
def test_it_warns_of_frozen_layers_and_of_masks_that_another_callback_restores() -> None:
    model = mask_model(dense_model())
    model.get_layer("hidden").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.warns(UserWarning, match="frozen"):
        fit(model, GradualPruning(0.2, end=8, frequency=2))
    stop = keras.callbacks.EarlyStopping("loss", restore_best_weights=True, start_from_epoch=0, mode="max")
    with pytest.warns(UserWarning, match="another callback has restored earlier masks"):
        fit(compiled(), stop, GradualPruning(0.1, end=BATCHES + 8, frequency=2), epochs=6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"begin": 10, "end": 10}, "Expected end to be after begin, update 10. Received: 10"),
        ({"begin": -1, "end": 10}, "begin to be at least 0"),
        ({"end": 10, "frequency": 0}, "frequency to be at least 1"),
        ({"end": 10.5}, "end to be an integer"),
        ({}, "Expected end, the update at which"),
        ({"end": 10, "schedule": "constant"}, "nor initial_density with 'constant'"),
        ({"end": 10, "schedule": "cubic"}, "schedule to be one of 'polynomial', 'constant'"),
        ({"end": 10, "density": 0}, "0 < density <= initial_density <= 1"),
        ({"end": 10, "density": 1.5}, "0 < density <= initial_density <= 1"),
        ({"end": 10, "density": {"dense": 0.2, "*": 0}}, "0 < density <= initial_density <= 1"),
        ({"end": 10, "density": {}}, "0 < density <= initial_density <= 1"),
        ({"end": 10, "initial_density": 0.1}, "0 < density <= initial_density <= 1"),
        ({"end": 10, "scope": "local"}, "scope to be one of"),
        ({"end": 10, "criterion": "size"}, "Expected a criterion"),
        ({"end": 10, "criterion": "snip"}, r"Expected data=\(x, y\)"),
        ({"end": 10, "loss": "los"}, "name of a loss"),
        ({"end": 10, "seed": -1}, "seed to be at least 0"),
        ({"end": 10, "min_per_layer": -1}, "min_per_layer to be at least 0"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GradualPruning(**{"density": 0.2, **arguments})


def test_models_that_cannot_be_pruned_so_far_are_refused_before_training() -> None:
    plain = dense_model()
    plain.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match=re.escape("Convert it with lth_keras.mask_model(model)")):
        fit(plain, GradualPruning(0.2, end=8))
    model = compiled()
    set_mask(model, Mask({key: np.arange(bits.size).reshape(bits.shape) < 10 for key, bits in get_mask(model).items()}))
    with pytest.raises(ValueError, match="keeps 2 to 20 of the 176 weights.*Received: 0.2, which keeps 35"):
        fit(model, GradualPruning(0.2, end=8))
    with pytest.raises(ValueError, match="keeps 2 to 176 of the 176 weights"):
        fit(compiled(), GradualPruning(0.005, end=8))
    with pytest.raises(ValueError, match="uniform scope"):
        fit(compiled(), GradualPruning(0.2, end=8, scope="uniform"))


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="Keras runs a callback that is in no list in another thread on JAX only")
def test_a_callback_that_is_in_no_list_is_refused() -> None:
    with pytest.raises(RuntimeError, match=re.escape("fit(callbacks=[callback])")):
        compiled().fit(X, Y, verbose=0, callbacks=GradualPruning(0.2, end=8, frequency=1))
