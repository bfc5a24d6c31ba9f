"""Prunes a model little by little while Keras' `fit` trains it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from lth_keras import seeds
from lth_keras.callbacks.updates import AtUpdates, updates_of
from lth_keras.criteria import Criterion, name_of, takes_data
from lth_keras.criteria import criterion as find_criterion
from lth_keras.data import check_loss, compiled_losses
from lth_keras.mask import Mask
from lth_keras.masking import Choice, check_connected, get_mask, grouped, set_mask, weights_to_choose
from lth_keras.pruning import (
    SCOPES,
    check_reachable,
    counts_at,
    derivatives_on,
    part_of,
    prune_once,
    scorer,
    warn_of_frozen,
    weights_by_key,
)
from lth_keras.system import integer, one_of, real

SCHEDULES = ("polynomial", "constant")


class GradualPruning(AtUpdates):
    """Prunes a masked model while `fit` trains it, from one density to a lower one, with new scores at each step.

    At updates t = begin, begin + frequency, ... and at `end` the weights with the lowest scores are pruned, so that
    the density is, with the polynomial schedule,

        density + (initial_density - density) * (1 - (t - begin) / (end - begin)) ** 3.

    Source: Zhu & Gupta (2017), arXiv:1710.01878, equation 1. The constant schedule prunes once, at `begin`. Pruned
    weights do not come back, and exactly round(N * density) of N survive each step, as in `prune`.

    Updates are those of the optimiser, counted from its first (`model.optimizer.iterations`): several batches that
    accumulate gradients are one, and batches that loss scaling skips are none. A second `fit` and a loaded model
    continue where the first stopped. Where `steps_per_execution` is above 1, a step is made at the first end of an
    execution that is not before it.

    Args:
        density: share of all N prunable weights to keep in the end, in (0, 1]. Or a density for each of several groups
            of weights, each ranked on its own, as in `prune`; all start from `initial_density`.
        begin: the first update to prune at.
        end: the update at which `density` is reached. Leave some training after it. None for the constant schedule.
        frequency: updates between two steps.
        schedule: `polynomial` or `constant`.
        initial_density: the density at `begin`.
        criterion: as in `prune`. The scores are of the weights that are trained, also where the optimiser keeps
            averages of them (`use_ema`).
        scope: as in `prune`.
        data: `(x, y)` for criteria that take gradients, scored as one batch at each step.
        loss: for the same criteria; None is the loss that the model is compiled with.
        seed: decides random scores, samples and ties.
        samples_per_class: as in `prune`.
        min_per_layer: as in `prune`.
        initial: as in `prune`: what `model.get_weights()` of the masked model gave before training.

    Raises:
        ValueError: for arguments out of range, or a criterion that takes data without them. In `fit`: for a model
            without masked layers, one of a lower density, and what `prune` raises.

    Warns:
        UserWarning: if `fit` ends before `density` is reached, or begins long after `begin` and so prunes much at once;
            and what `prune` warns of.

    Example:
        >>> model = mask_model(model)
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> model.fit(x, y, epochs=10, callbacks=[GradualPruning(0.1, end=5 * len(x) // 32)])
        >>> get_mask(model).density
        0.1
    """

    def __init__(
        self,
        density: float | Mapping[Choice, float],
        *,
        begin: int = 0,
        end: int | None = None,
        frequency: int = 100,
        schedule: str = "polynomial",
        initial_density: float = 1.0,
        criterion: str | Criterion = "magnitude",
        scope: str = "global",
        data: Any = None,
        loss: Any = None,
        seed: int = 0,
        samples_per_class: int | None = None,
        min_per_layer: int = 1,
        initial: Sequence[Any] | None = None,
    ) -> None:
        constant = one_of("schedule", schedule, SCHEDULES) == "constant"
        if constant != (end is None) or (constant and initial_density != 1.0):
            raise ValueError(
                "Expected end, the update at which the density is reached, with schedule='polynomial', and neither it "
                f"nor initial_density with 'constant', which prunes once, at begin. Received: schedule={schedule!r}, "
                f"end={end}, initial_density={initial_density}."
            )
        super().__init__(begin, end, frequency, and_end=True)
        self.density = _checked(density)
        self.initial_density = real("initial_density", initial_density)
        each = self.density.values() if isinstance(self.density, Mapping) else [self.density]
        if not (each and all(0 < one <= self.initial_density <= 1 for one in each)):
            raise ValueError(
                "Expected 0 < density <= initial_density <= 1, shares of the weights to keep. Received: "
                f"density={density}, initial_density={initial_density}."
            )
        if takes_data(find_criterion(criterion)) and data is None:
            raise ValueError(
                f"Expected data=(x, y), examples and their labels, as the criterion {name_of(criterion)!r} takes "
                "gradients. Received: no data."
            )
        if loss is not None:
            check_loss(loss)
        self.schedule, self.criterion, self.scope = schedule, criterion, one_of("scope", scope, SCOPES)
        self.seed, self.min_per_layer = integer("seed", seed, 0), integer("min_per_layer", min_per_layer, 0)
        self._data, self._loss, self._initial = data, loss, initial
        self._samples = None if samples_per_class is None else integer("samples_per_class", samples_per_class, 1)

    @property
    def reached_at(self) -> int:
        """The update after which the density is `density`."""
        return self.begin if self.end is None else self.end

    def density_at(self, update: int) -> float | dict[Choice, float]:
        """The density after an update that is not before `begin`, as a share of all prunable weights, or by group."""
        if isinstance(self.density, Mapping):
            return {choice: self._towards(density, update) for choice, density in self.density.items()}
        return self._towards(self.density, update)

    def _towards(self, density: float, update: int) -> float:
        if update >= self.reached_at:
            return density
        assert self.end is not None
        left = 1 - (update - self.begin) / (self.end - self.begin)
        return density + (self.initial_density - density) * left**3

    def next_point(self, count: int) -> int | None:
        """See `AtUpdates`: nothing follows the density that is reached."""
        return None if count >= self.reached_at else super().next_point(count)

    def start(self, count: int) -> None:
        """Prunes at once to the density that the schedule has for a model with so many updates."""
        model = self.model
        mask = get_mask(model)
        self._groups = (
            {tuple(mask): self.density} if isinstance(self.density, float) else _groups_of(model, self.density)
        )
        self._check_reachable(mask)
        warn_of_frozen(model)
        loss = self._loss if self._data is None else compiled_losses(model, self._loss)
        self._derivatives = derivatives_on(model, self._data, loss, self._samples, self.seed)
        self._before = None if self._initial is None else weights_by_key(model, self._initial)
        point = self.last_point(count)
        if point is None:
            return
        self.act(point)
        if count > self.begin and (now := get_mask(model)) != mask:
            warnings.warn(
                f"Pruned from density {mask.density:.3g} to {now.density:.3g} at once, since the optimiser has made "
                f"{count} updates before this fit, and begin={self.begin}. Compile the model anew to count from 0, or "
                f"say begin={count} or later.",
                stacklevel=2,
            )

    def act(self, point: int) -> None:
        """Prunes to the density of an update; does nothing where it is no lower."""
        model = self.model
        mask = get_mask(model)
        last = point >= self.reached_at
        if last and self._reached(mask):
            return
        draws, ties = (seeds.stream(self.seed, "gradual", name, point) for name in ("criterion", "ties"))
        pruned = prune_once(
            mask,
            {keys: self._towards(density, point) for keys, density in self._groups.items()},
            scorer(model, self.criterion, draws, self._before, self._derivatives),
            scope=self.scope,
            ties=ties,
            min_per_layer=self.min_per_layer,
            criterion=name_of(self.criterion),
            last=last,
            exact=True,
        )
        if pruned is not None:
            check_connected(model, pruned)
            set_mask(model, pruned)

    def on_train_end(self, logs: Any = None) -> None:
        """Warns where the density is not reached."""
        model = self.model
        mask, count = get_mask(model), updates_of(model)
        if not self._reached(mask):
            more = "another fit continues" if count < self.reached_at else "another callback has restored earlier masks"
            warnings.warn(
                f"Expected density {self.density} from update {self.reached_at} on. Received: density "
                f"{mask.density:.3g} where fit ended, after update {count}; {more}.",
                stacklevel=2,
            )

    def _check_reachable(self, mask: Mask) -> None:
        """Raises ValueError for a density that pruning this mask cannot reach, before anything is trained."""
        for part, density in self._parts(mask):
            check_reachable(density, part, self.min_per_layer)
            counts_at(density, part, self.scope, self.min_per_layer, exact=True)

    def _reached(self, mask: Mask) -> bool:
        return all(part.kept == round(part.size * density) for part, density in self._parts(mask))

    def _parts(self, mask: Mask) -> Iterator[tuple[Mask, float]]:
        """The masks of the groups, with the densities that they reach."""
        for keys, density in self._groups.items():
            yield part_of(mask, keys), density


def _groups_of(model: keras.Model, density: Mapping[Choice, float]) -> dict[tuple[str, ...], float]:
    """Keys of weights to their density. Errors as `masking.grouped`."""
    chosen = grouped(density, weights_to_choose(model, model), "density")
    return {tuple(keys): value for value, keys in chosen}


def _checked(density: Any) -> float | dict[Choice, float]:
    if isinstance(density, Mapping):
        return {choice: real("density", one) for choice, one in density.items()}
    return real("density", density)
