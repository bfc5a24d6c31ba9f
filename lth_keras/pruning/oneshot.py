"""Prunes any Keras model without training it, by any criterion: at once, or in several shots."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays
from lth_keras.criteria import Criterion, State, name_of
from lth_keras.criteria import criterion as find_criterion
from lth_keras.criteria.model_derivatives import ModelDerivatives
from lth_keras.data.arguments import check_loss, check_model
from lth_keras.data.sampling import draw_samples
from lth_keras.data.splits import check_examples
from lth_keras.masking import check_connected, get_mask, lora_updates, mask_model, prunable_weights, set_mask, variables
from lth_keras.pruning.densities import check_scope, shot_densities
from lth_keras.pruning.shots import prune_in_shots
from lth_keras.system.values import integer, real


def prune(
    model: keras.Model,
    density: float,
    criterion: str | Criterion = "magnitude",
    scope: str = "global",
    data: Any = None,
    loss: Any = None,
    seed: int = 0,
    *,
    samples_per_class: int | None = None,
    shots: int = 1,
    schedule: str = "exponential",
    min_per_layer: int = 1,
    initial: Sequence[Any] | None = None,
) -> keras.Model:
    """Returns the model with masked layers and the weights of lowest score pruned; its weights are the model's own.

    Args:
        model: a built Sequential or Functional model, plain or masked; left as it is. Of a masked model, only weights
            that are left are ranked.
        density: share of all prunable weights to keep, in (0, 1]: exactly round(N * density) survive, counted from
            the dense network.
        criterion: name or function that scores the weights.
        scope: `global` ranks across layers; `layer` keeps the same share in each, shared out by largest remainder: each
            layer keeps what is within one weight of its share, but for what `min_per_layer` takes first (see
            `densities.layer_shares`); `uniform` too, but for the first layer, which stays as it is; `erk` keeps more
            of small layers (see `densities.erk_counts`). In all of them round(N * density) weights are left.
        data: `(x, y)` for criteria that take gradients, scored as one batch of all of it; or of some of it.
        loss: as Keras' `compile` takes it, for the same criteria.
        seed: decides random scores, samples and ties.
        samples_per_class: examples of each class to draw from `data`; None takes all of it.
        shots: prune step by step, and score what is left after each: 100 for SynFlow as in its paper.
        schedule: the densities of the shots: `exponential` (each prunes the same share of what is left) or `linear`.
        min_per_layer: weights that every layer keeps at least. 0 lets a layer collapse.
        initial: the weights before training, as `model.get_weights()` gave them then, for criteria that compare with
            them: `initial_magnitude`, `magnitude_change`, `movement`.

    Raises:
        ValueError: for a density out of range or above what is left, an unknown criterion, scope or schedule, a model
            with nothing to prune, data, a loss or initial weights that a criterion misses or that do not fit, more
            samples than there are, scores that are not finite, gradients that are all zero, or where layers without
            any weight left cut the network through.

    Warns:
        UserWarning: naming the layers that collapse, if `min_per_layer=0` lets them, that no gradient reaches, or that
            are frozen (`trainable=False`), which are pruned all the same.

    Example:
        >>> pruned = prune(model, density=0.1)
        >>> get_mask(pruned).density
        0.1
        >>> pruned = prune(model, 0.1, "snip", data=(x, y), loss="sparse_categorical_crossentropy")
        >>> pruned = prune(model, 0.01, "synflow", shots=100)
    """
    check_model(model)
    integer("seed", seed, 0)
    integer("min_per_layer", min_per_layer, 0)
    if samples_per_class is not None:
        integer("samples_per_class", samples_per_class, 1)
    if loss is not None:
        check_loss(loss)
    densities = shot_densities(real("density", density), integer("shots", shots), schedule)
    check_scope(scope)
    score, name = find_criterion(criterion), name_of(criterion)
    pruned = mask_model(model)
    frozen = [weight.key for weight in prunable_weights(pruned) if not weight.layer.trainable]
    if frozen:
        warnings.warn(
            f"Pruned too, though their layers are frozen (trainable=False): {', '.join(frozen)}.", stacklevel=2
        )
    mask = get_mask(pruned)
    values = variables(pruned)
    before = None if initial is None else _by_key(model, initial)
    shapes = {key: tuple(variable.shape) for key, variable in values.items()}
    weights = LazyArrays(shapes, lambda key: keras.ops.convert_to_numpy(values[key]))
    derivatives = _derivatives(pruned, data, loss, samples_per_class, seed)
    updates = lora_updates(pruned)
    draws, ties = seeds.stream(seed, "prune", "criterion"), seeds.stream(seed, "prune", "ties")
    mask = prune_in_shots(
        mask,
        densities,
        lambda mask: score(State(weights, mask, draws, before, derivatives, name, updates=updates)),
        scope=scope,
        ties=ties,
        min_per_layer=min_per_layer,
        criterion=name,
        check=functools.partial(check_connected, pruned),
        exact=True,
    )
    set_mask(pruned, mask)
    return pruned


def _by_key(model: keras.Model, weights: Sequence[Any]) -> dict[str, np.ndarray]:
    """Weight key to array, of arrays in the order of `model.get_weights()`."""
    keys = {id(variable): key for key, variable in variables(model).items()}
    arrays = [np.asarray(weight) for weight in weights]
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in model.weights]:
        raise ValueError(
            "Expected initial to be what model.get_weights() gave before training: "
            f"{len(model.weights)} arrays of the shapes of the model's weights. Received: {len(arrays)} arrays of "
            f"shapes {[array.shape for array in arrays]}."
        )
    return {keys[id(v)]: array for v, array in zip(model.weights, arrays, strict=True) if id(v) in keys}


def _derivatives(
    model: keras.Model, data: Any, loss: Any, samples_per_class: int | None, seed: int
) -> ModelDerivatives:
    derivatives = ModelDerivatives(model, loss)
    if data is None:
        return derivatives
    x, y = check_examples(model, loss, data)
    if samples_per_class is not None:
        outputs = int(model.output_shape[-1] or 1)
        chosen = draw_samples(y, samples_per_class, outputs, seeds.stream(seed, "prune", "samples"))
        x, y = x[chosen], y[chosen]
    return derivatives.on(lambda: (x, y))
