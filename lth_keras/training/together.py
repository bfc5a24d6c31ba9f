"""Several tickets of one network trained as one compiled program, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lth_keras.arrays import LazyArrays, Weights
from lth_keras.backends import trains_together
from lth_keras.data.splits import Arrays, check_patience
from lth_keras.mask import Mask
from lth_keras.training import Curves, NonFiniteLossError, train_together
from lth_keras.training.network import Network, batch_order, dropout_seed


class Member(NamedTuple):
    """A ticket to train.

    Attributes:
        weights: all weights by key, pruned ones included.
        mask: which of the prunable ones take part.
        seed: with `names`, decides data order and dropout.
        names: name the stream, e.g. the level.
        trial: whose data it is trained on, as `load` was told; None for those of the seed.
        scored_at: the step whose weights are kept for scoring, 0 for those of the start; None for the last.
        updates: what the optimiser's count of updates begins at.
    """

    weights: Weights
    mask: Mask
    seed: int
    names: tuple[str | int, ...]
    trial: Hashable = None
    scored_at: int | None = None
    updates: int = 0


class Trained(NamedTuple):
    """What came of a ticket.

    Attributes:
        curves: what was measured.
        weights: the final weights by key, read when they are accessed: until the next training.
        scored: the weights that a criterion is to score, these or earlier ones.
        test_metric_at_early_stop: with the weights of least validation loss.
    """

    curves: Curves
    weights: Weights
    scored: Weights
    test_metric_at_early_stop: float


class Together:
    """Trains up to `width` tickets of a network at a time: a small network on a GPU is bound by launches.

    The compiled program always trains `width`: fewer are filled up with repetitions, whose results are dropped. So it
    is compiled once for a number of different data sets, and on CPUs no bit of a ticket's numbers depends on how many
    others are trained with it.

    Args:
        network: whose model, loss, batch size and cadences are used; its weights are not touched.
        width: tickets at a time, at least 1.

    Raises:
        ValueError: on another backend than JAX, or where the network trains large embedding tables by rows.
    """

    def __init__(self, network: Network, width: int) -> None:
        check_together(network, width)
        self._network, self.width = network, width
        self._programs = network.make_programs(width)
        self.datasets: Mapping[Any, Mapping[str, Arrays]] = {}
        """The data that it has: what tells a trial from others, to splits."""

    def load(self, datasets: Mapping[Any, Mapping[str, Arrays]]) -> None:
        """Takes the data of trials: what tells a trial from others, to splits as `Network.checked` gives them.

        Raises:
            ValueError: where trials differ in the shapes of a split.
        """
        self.datasets = {}  # what was there makes room first
        self._programs.load(list(datasets.values()))
        self.datasets = datasets

    def train(
        self,
        members: Sequence[Member],
        steps: int,
        *,
        confusion: bool = False,
        patience: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Trained | NonFiniteLossError]:
        """Trains tickets whose trials' data are loaded.

        Args:
            members: at most `width`.
            steps: optimiser updates.
            confusion: whether to count outcomes by class at every test, as `Network.train`.
            patience: as `Network.train`.
            progress: called with (steps done, steps in all) about every half second.

        Returns:
            For each member what came of it, or the error of one whose loss became NaN or infinite.

        Raises:
            ValueError: for no members, or more than `width`; for a `patience` below 1 or without a validation split.
        """
        if not 1 <= len(members) <= self.width:
            raise ValueError(f"Expected 1 to {self.width} tickets. Received: {len(members)}.")
        members = [m._replace(trial=m.seed) if m.trial is None else m for m in members]
        padded = [*members, *[members[0]] * (self.width - len(members))]
        loaded = list(self.datasets)
        places = [loaded.index(member.trial) for member in padded]
        values = [self._values(member) for member in members]
        updates = [member.updates for member in padded]
        self._programs.begin([*values, *[values[0]] * (self.width - len(members))], places, updates)
        splits = [self.datasets[member.trial] for member in padded]
        validated = len(splits[0]["validation"][0]) > 0
        network = self._network
        check_patience(patience, validated)
        scored: dict[int, Weights] = {}
        ends: dict[int, tuple[Weights, float]] = {}

        def keep(step: int) -> None:
            at = [i for i, member in enumerate(members) if member.scored_at == step and i not in ends]
            scored.update({i: dict(self._weights(i)) for i in at})

        def end(i: int) -> None:
            if i < len(members):
                ends[i] = dict(self._weights(i)), float(self._programs.evaluate("test", best=True)[1][i])

        curves = train_together(
            self._programs,
            [
                batch_order(len(own["train"][0]), network.batch_size, member.seed, *member.names)
                for own, member in zip(splits, padded, strict=True)
            ],
            steps=steps,
            labels=[own["test"][1] for own in splits],
            test_every=network.test_every,
            validated=validated,
            counter=network.make_counter() if confusion else None,
            patience=patience,
            ended=end,
            after={step: partial(keep, step) for step in {m.scored_at for m in members} if step is not None},
            progress=progress,
        )
        best = self._programs.evaluate("test", best=True)[1] if validated else None
        results: list[Trained | NonFiniteLossError] = []
        for i, part in enumerate(curves[: len(members)]):
            if isinstance(part, NonFiniteLossError):
                results.append(part)
                continue
            metric = part.test_metric[part.early_stop] if best is None else best[i]
            final = self._weights(i)
            if i in ends:
                final, metric = ends[i]
            results.append(Trained(part, final, scored.get(i, final), float(metric)))
        return results

    def _values(self, member: Member) -> dict[int, np.ndarray]:
        """The values that the model's variables have at the start of a member's training."""
        network, values = self._network, {}
        for key, variable in network.variables.items():
            value = member.weights[key]
            values[id(variable)] = value * member.mask[key] if key in member.mask else value
        values |= {id(weight.mask): member.mask[weight.key] for weight in network.prunable}
        for i, state in enumerate(network.seed_states):
            values[id(state)] = dropout_seed(state, member.seed, *member.names, i)
        return values

    def _weights(self, member: int) -> Weights:
        variables = self._network.variables
        shapes = {key: tuple(variable.shape) for key, variable in variables.items()}
        return LazyArrays(shapes, lambda key: self._programs.value(member, variables[key]))


def check_together(network: Network, width: int) -> None:
    """Raises ValueError where the network's tickets cannot be trained together: not on JAX, or tables by rows."""
    if not trains_together():
        raise ValueError(
            f"Expected Keras on JAX to train several tickets as one program. Received: {network.backend}, "
            f"vectorize={width}."
        )
    if network.tables:
        raise ValueError(
            f"Expected vectorize=1 for a model whose large embedding tables are trained by rows. Received: {width}."
        )
