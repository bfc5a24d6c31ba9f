"""Prunes a Keras model without training it, by any criterion, in one shot or several."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from lth_keras import seeds
from lth_keras.criteria import Criterion, name_of
from lth_keras.criteria import criterion as find_criterion
from lth_keras.data import check_loss, check_model
from lth_keras.masking import (
    Choice,
    check_connected,
    check_not_quantised,
    get_mask,
    grouped,
    mask_model,
    prunable_weights,
    set_mask,
    weights_to_choose,
)
from lth_keras.pruning.densities import SCOPES, check_reachable, shot_densities
from lth_keras.pruning.patterns import density_of, layouts_for, pattern_of, pruned_by_pattern
from lth_keras.pruning.scoring import derivatives_on, scorer, warn_of_frozen, weights_by_key
from lth_keras.pruning.shots import part_of, prune_in_shots
from lth_keras.system import integer, one_of, real


def prune(
    model: keras.Model,
    density: float | Mapping[Choice, float] | None = None,
    criterion: str | Criterion = "magnitude",
    scope: str = "global",
    data: Any = None,
    loss: Any = None,
    seed: int = 0,
    *,
    exclude: Choice | Sequence[Choice] = (),
    pattern: str | None = None,
    multiple_of: int = 1,
    samples_per_class: int | None = None,
    shots: int = 1,
    shot_schedule: str = "exponential",
    min_per_layer: int = 1,
    initial: Sequence[Any] | None = None,
    schedule: str | None = None,
) -> keras.Model:
    """Returns a masked copy of the model in which the weights with the lowest scores are pruned.

    Args:
        model: a built model, plain or masked; it is not changed, unless it is subclassed: then it is pruned in place.
            Weights that its masks have pruned already stay pruned.
        density: share of all N prunable weights of the dense network to keep, in (0, 1]: exactly round(N * density)
            survive in every scope. Or a density for each of several groups of weights, each ranked on its own,
            `{"conv": 0.5, "dense*": 0.1}`: choices as for `exclude`, and keys of weights; every weight is in exactly
            one group, and 1.0 keeps all of a group.
        criterion: name or function that scores the weights.
        scope: `global` ranks all weights together; `layer` keeps the same share of each layer, rounded by largest
            remainder (see `densities.layer_shares`); `uniform` does so for all layers but the first, which is not
            pruned; `erk` keeps larger shares of smaller layers (see `densities.erk_counts`).
        data: `(x, y)` for criteria that take gradients, scored as one batch. Several inputs or outputs are lists,
            tuples or dicts by name, as in Keras' `fit`.
        loss: as Keras' `compile` takes it, for the same criteria; the losses of several outputs are added up.
        seed: decides random scores, samples and ties.
        exclude: layers that stay plain, and so do not count in densities: names or places of layers, patterns
            (`"block*"`), kinds (`"embedding"`), `"first"`, `"last"`, layers of the model, classes of layers, or
            functions `(layer) -> bool`; one or several.
        pattern: groups of weights to keep or prune together. `"2:4"` keeps the 2 highest of every 4 consecutive inputs
            of each output; the density is then 0.5, and need not be given. `"units"` (or `"filters"`, `"columns"`)
            prunes whole units of dense layers, filters of convolutions and columns of embedding tables, but not those
            of the model's outputs; `"heads"` those of MultiHeadAttention; `"4x4"` blocks along the last two axes;
            `"channels"` units, filters, columns and heads, each with all weights that make or read it. A group's score
            is the sum of its weights' scores. `density` is then the share of groups, and weights that have none stay as
            they are; scope `layer` keeps the same share of each layer, and `global` ranks groups by their mean score. A
            pruned unit has no incoming weights; its bias is left, and read by others but with `"channels"`.
        multiple_of: number to whose multiples the units, heads or channels that a layer keeps are rounded.
        samples_per_class: examples of each class to draw from `data`; None takes all of them.
        shots: number of steps, each with new scores of the remaining weights; 100 for SynFlow in its paper.
        shot_schedule: the densities of the shots: `exponential` (each prunes the same share of the remaining weights)
            or `linear` (the same number).
        min_per_layer: least number of weights to keep in each layer. 0 lets a layer collapse.
        initial: the weights before training, as `model.get_weights()` gave them then, for criteria that compare with
            them: `initial_magnitude`, `magnitude_change`, `movement`.
        schedule: `shot_schedule` by its name in version 0.1, accepted until 0.3.

    Names and defaults are those of `Pruning`, but for two: `scope` is `global`, where a search follows Frankle & Carbin
    (2019) and ranks within layers; `samples_per_class` is all of `data`, which a search draws from its training split.

    Raises:
        ValueError: for a density out of range or that a group of weights cannot reach, a quantised model, an unknown
            criterion, scope or shot schedule, a model without prunable weights, data, a loss or initial weights that
            are missing or do not fit, more samples than there are, scores that are not finite, gradients that are all
            zero, or a network that is cut through (see `masking.check_connected`).

    Warns:
        UserWarning: naming layers that collapse with `min_per_layer=0`, that no gradient reaches, that have no mask, or
            that are pruned though frozen (`trainable=False`).

    Example:
        >>> pruned = prune(model, density=0.1)
        >>> get_mask(pruned).density
        0.1
        >>> pruned = prune(model, 0.1, "snip", data=(x, y), loss="sparse_categorical_crossentropy")
        >>> pruned = prune(model, 0.01, "synflow", shots=100)
        >>> pruned = prune(model, {"conv": 0.5, "dense": 0.1}, exclude="last")
        >>> pruned = prune(model, pattern="2:4", exclude="first")
        >>> pruned = prune(model, 0.5, pattern="channels", scope="layer", multiple_of=8)
    """
    check_model(model)
    if schedule is not None:
        warnings.warn(
            f"prune(schedule=...) is now prune(shot_schedule={schedule!r}).", DeprecationWarning, stacklevel=2
        )
        shot_schedule = schedule
    integer("seed", seed, 0)
    integer("min_per_layer", min_per_layer, 0)
    if samples_per_class is not None:
        integer("samples_per_class", samples_per_class, 1)
    if loss is not None:
        check_loss(loss)
    shots = integer("shots", shots)
    kept_in = None if pattern is None else pattern_of(pattern, integer("multiple_of", multiple_of, 1))
    if kept_in is not None:
        density = density_of(kept_in, density, scope, shots)
    each = density.values() if isinstance(density, Mapping) else [density]
    in_shots = [shot_densities(real("density", one), shots, shot_schedule) for one in each]
    if pattern is None and multiple_of != 1:
        raise ValueError(f"Expected a pattern, 'units' or 'heads', with multiple_of. Received: {multiple_of} and none.")
    one_of("scope", scope, SCOPES)
    find_criterion(criterion)
    before = None if initial is None else weights_by_key(model, initial)  # a subclassed model is masked in place
    pruned = mask_model(model, exclude=exclude)
    check_not_quantised(prunable_weights(pruned))
    warn_of_frozen(pruned)
    derivatives = derivatives_on(pruned, data, loss, samples_per_class, seed)
    draws, ties = seeds.stream(seed, "prune", "criterion"), seeds.stream(seed, "prune", "ties")
    before_pruning = get_mask(pruned)
    groups = {tuple(before_pruning): in_shots[0]} if in_shots else {}
    if isinstance(density, Mapping):
        chosen = grouped(dict(zip(density, in_shots, strict=True)), weights_to_choose(pruned, model), "density")
        groups = {tuple(keys): densities for densities, keys in chosen}
    score = scorer(pruned, criterion, draws, before, derivatives)
    check = functools.partial(check_connected, pruned)
    if kept_in is not None:
        mask = pruned_by_pattern(
            kept_in,
            before_pruning,
            in_shots[0],
            score,
            layouts_for(kept_in, pruned),
            scope=scope,
            ties=ties,
            min_per_layer=min_per_layer,
        )
        check(mask)
        set_mask(pruned, mask)
        return pruned
    for keys, densities in groups.items():
        check_reachable(densities[-1], part_of(before_pruning, keys), min_per_layer)
    mask = prune_in_shots(
        before_pruning,
        groups,
        score,
        scope=scope,
        ties=ties,
        min_per_layer=min_per_layer,
        criterion=name_of(criterion),
        check=check,
        exact=True,
    )
    set_mask(pruned, mask)
    return pruned
