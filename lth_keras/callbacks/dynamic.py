"""Trains a sparse model from the start: exchanges weights for others while Keras' `fit` runs."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays, Weights, uniform
from lth_keras.backends import assign, count, forget, rows
from lth_keras.callbacks.updates import AtUpdates, updates_of
from lth_keras.data import check_examples, check_loss, compiled_losses
from lth_keras.mask import Mask
from lth_keras.masking import check_connected, get_mask, lora_updates, prunable_weights, set_mask
from lth_keras.pruning import (
    SCOPES,
    ModelDerivatives,
    check_reachable,
    counts_at,
    current_weights,
    drop_and_grow,
    keep_highest,
    warn_of_frozen,
)
from lth_keras.system import integer, one_of, real

METHODS = ("set", "rigl")
SCHEDULES = ("cosine", "constant")


class DynamicSparseTraining(AtUpdates):
    """Keeps a masked model at one density while `fit` trains it, and exchanges its weights for others.

    A dense model is given a random mask of this density at the first batch; a model that has this density already keeps
    its mask. At updates begin, begin + frequency, ... until `end` each layer drops a share of its kept weights, those
    of the lowest magnitude, and grows as many: at random (`set`), or those with the largest gradient of the loss by
    the weights that are pruned (`rigl`). A weight that was just dropped may grow again, and is then as before; any
    other grown weight starts at zero, and what the optimiser keeps of it (moments, averages) does too.
    This is the one way to prune in which masks do not nest: pruned weights come back.

    Sources: SET of Mocanu et al. (2018), arXiv:1707.04780, algorithm 1; RigL of Evci et al. (2020), arXiv:1911.11134,
    algorithm 1, whose share after update t is with the cosine schedule

        drop_fraction / 2 * (1 + cos(pi * (t - begin) / (end - begin))).

    Args:
        density: share of all N prunable weights to keep, in (0, 1): exactly round(N * density), and in each layer
            always the same number.
        method: `set` or `rigl`.
        begin: the first update to exchange weights after, counted as in `GradualPruning`; none are before the first
            update.
        end: the last one; 75% of the training in RigL's paper. None, for the constant schedule, is to the end of `fit`.
        frequency: updates between two exchanges.
        drop_fraction: share of a layer's kept weights that is exchanged at once, in (0, 1); rounded down.
        schedule: `cosine`, or `constant`.
        scope: densities of the layers in the random mask, as in `prune`; both papers use `erk`.
        data: `(x, y)` for `rigl`: the training examples, from which a batch is drawn for each exchange. The gradient is
            that in inference mode, without regularisation terms.
        loss: for `rigl`; None is the loss that the model is compiled with.
        batch_size: examples in such a batch.
        min_per_layer: as in `prune`, for the random mask.
        seed: decides the random mask, what `set` grows, batches and ties.

    Raises:
        ValueError: for arguments out of range, or `rigl` without data. In `fit`: for a model without masked layers, of
            another density that is not dense, or with LoRA; gradients that are all zero or not finite.

    Warns:
        UserWarning: naming frozen layers (`trainable=False`): they are given a random mask too, and keep it. If `fit`
            ends and no weights were exchanged.

    Example:
        >>> model = mask_model(model)
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> callback = DynamicSparseTraining(0.1, method="rigl", end=7 * len(x) // 32, data=(x, y))
        >>> model.fit(x, y, epochs=10, callbacks=[callback])
    """

    def __init__(
        self,
        density: float,
        *,
        method: str = "set",
        begin: int = 0,
        end: int | None = None,
        frequency: int = 100,
        drop_fraction: float = 0.3,
        schedule: str = "cosine",
        scope: str = "erk",
        data: Any = None,
        loss: Any = None,
        batch_size: int = 128,
        min_per_layer: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(begin, end, frequency)
        self.density, self.drop_fraction = _share("density", density), _share("drop_fraction", drop_fraction)
        self.method, self.schedule = one_of("method", method, METHODS), one_of("schedule", schedule, SCHEDULES)
        if schedule == "cosine" and end is None:
            raise ValueError("Expected end, the last update to exchange weights after, with schedule='cosine'.")
        if method == "rigl" and data is None:
            raise ValueError(
                "Expected data=(x, y), training examples and their labels, as 'rigl' takes gradients. Received: none."
            )
        if loss is not None:
            check_loss(loss)
        self.scope, self.batch_size = one_of("scope", scope, SCOPES), integer("batch_size", batch_size, 1)
        self.min_per_layer, self.seed = integer("min_per_layer", min_per_layer, 0), integer("seed", seed, 0)
        self._data, self._loss = data, loss
        self._began_at, self._exchanged = 0, False

    def drop_fraction_at(self, update: int) -> float:
        """The share of a layer's kept weights that is exchanged after an update."""
        if self.schedule == "constant":
            return self.drop_fraction
        assert self.end is not None
        return self.drop_fraction / 2 * (1 + math.cos(math.pi * (update - self.begin) / (self.end - self.begin)))

    def start(self, count: int) -> None:
        """Gives a dense model a random mask."""
        self._began_at, self._exchanged = count, False
        model = self.model
        mask = get_mask(model)
        if lora_updates(model):
            raise ValueError("Expected a model without LoRA, whose updates would add to weights that grow from zero.")
        kept = round(mask.size * self.density)
        if mask.kept not in (kept, mask.size):
            raise ValueError(
                f"Expected a dense model, or one of density {self.density} ({kept} of {mask.size} weights). Received: "
                f"density {mask.density:.3g} ({mask.kept} weights)."
            )
        if self.method == "rigl":
            loss = compiled_losses(model, self._loss)
            self._derivatives = ModelDerivatives(model, loss)
            self._examples = check_examples(model, loss, self._data)
        if mask.kept > kept:
            warn_of_frozen(model)
            set_mask(model, self._random(mask))

    def act(self, point: int) -> None:
        """Exchanges weights."""
        model = self.model
        mask, weights = get_mask(model), current_weights(model)
        swaps = self._swaps(mask, point)
        if not any(swaps.values()):
            return
        self._exchanged = True
        magnitudes = LazyArrays(mask.shapes, lambda key: np.abs(weights[key]))
        scores = self._growth(mask, weights, point)
        exchanged = drop_and_grow(mask, magnitudes, scores, swaps, generator=self._stream("ties", point))
        for weight in prunable_weights(model):
            grown = exchanged[weight.key] & ~mask[weight.key]
            if grown.any():
                value = np.array(weights[weight.key])
                value[grown] = 0
                assign(weight.variable, value)
                forget(model.optimizer, weight.variable, grown)
        set_mask(model, exchanged)

    def on_train_end(self, logs: Any = None) -> None:
        """Warns where no weights were exchanged."""
        if self._exchanged or (self.end is not None and self._began_at >= self.end):
            return
        first, last = self.begin or self.frequency, "" if self.end is None else f" to {self.end}"
        warnings.warn(
            f"Expected to exchange weights after updates {first}, {first + self.frequency}, ...{last}. Received: none "
            f"exchanged, in a fit of updates {self._began_at} to {updates_of(self.model)}. Change begin, end or "
            "frequency, or raise drop_fraction where it is less than one weight of each layer.",
            stacklevel=2,
        )

    def _random(self, mask: Mask) -> Mask:
        """A random mask of the density, with the shares of the layers that the scope says."""
        check_reachable(self.density, mask, self.min_per_layer)
        counts = counts_at(self.density, mask, self.scope, self.min_per_layer, exact=True)
        scores = uniform(mask.shapes, self._stream("mask"))
        ties = self._stream("mask", "ties")
        chosen = keep_highest(scores, mask, counts, generator=ties, min_per_layer=self.min_per_layer)
        check_connected(self.model, chosen)
        return chosen

    def _swaps(self, mask: Mask, point: int) -> dict[str, int]:
        """How many weights each layer exchanges; none where it is frozen, as what grew would stay zero."""
        share = self.drop_fraction_at(point)
        trained = {weight.key: weight.variable.trainable for weight in prunable_weights(self.model)}
        return {key: math.floor(share * kept) if trained[key] else 0 for key, kept in mask.counts().items()}

    def _growth(self, mask: Mask, weights: LazyArrays, point: int) -> Weights:
        """The scores of weights that may grow."""
        if self.method == "set":
            return uniform(mask.shapes, self._stream("grow", point))
        x, y = self._examples
        drawn = self._stream("batch", point).permutation(count(x))[: self.batch_size]
        derivatives = self._derivatives.on(lambda: (rows(x, drawn), rows(y, drawn)))
        # The gradient by pruned weights too: none is masked, and pruned ones are zero.
        sparse = LazyArrays(weights.shapes, lambda key: weights[key] * mask[key] if key in mask else weights[key])
        gradients = derivatives.gradients(sparse, Mask.ones(mask.shapes))
        return {key: np.abs(gradient) for key, gradient in gradients.items()}

    def _stream(self, *names: str | int) -> np.random.Generator:
        return seeds.stream(self.seed, "dynamic", *names)


def _share(name: str, value: Any) -> float:
    if not 0 < real(name, value) < 1:
        raise ValueError(f"Expected {name} between 0 and 1. Received: {value}.")
    return float(value)
