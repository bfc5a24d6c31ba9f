"""`MaskedNetwork`: the model of a network, with access to its masks and weights."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import keras
import numpy as np

from lth_keras import seeds
from lth_keras.arrays import LazyArrays
from lth_keras.backends import assign, backend
from lth_keras.mask import Mask
from lth_keras.masking import (
    Choice,
    draw_weights,
    get_mask,
    mask_model,
    masked_copy,
    own_array,
    prunable_weights,
    seed_states,
    set_mask,
    variables,
    walk,
)
from lth_keras.training.given import FirstModel, find_given, owners

_LARGE = 10_000_000  # weights; for smaller models, collecting garbage (0.3 s) is not worth the memory of a copy


class MaskedNetwork:
    """The masked model of a `Network`, which documents arguments and errors, its masks and its weights."""

    def __init__(
        self,
        build: Callable[[], keras.Model],
        start: str | None,
        exclude: Choice | Sequence[Choice],
        prune_frozen: bool,
    ) -> None:
        self._build = build
        made = build()
        if not isinstance(made, keras.Model):
            raise TypeError(f"Expected build() to return a keras.Model. Received: {type(made).__name__}.")
        self.built_as = type(made)
        first = FirstModel.of(made)
        self.model = mask_model(made, exclude=exclude, frozen=prune_frozen)
        large = sum(math.prod(variable.shape) for variable in self.model.variables) >= _LARGE
        del made  # so that garbage collection can free the model, which has reference cycles
        if large:
            gc.collect()
        self.given = find_given(first, build, start)
        del first
        if large:
            gc.collect()
        self.prunable = prunable_weights(self.model)
        masked = [weight.key for weight in self.prunable if not weight.layer.trainable]
        if masked and not prune_frozen:
            raise ValueError(
                f"Expected frozen layers (trainable=False) without masks. Received: {masked}. Use plain layers "
                "(strip_masks makes them), or pass prune_frozen=True."
            )
        self.variables = variables(self.model)
        self._owners = owners(self.model)
        self.seed_states = seed_states(self.model)

    @property
    def backend(self) -> str:
        """The Keras backend that trains: `tensorflow`, `jax` or `torch`."""
        return str(keras.backend.backend())

    @cached_property
    def without_xla(self) -> list[str]:
        """The layers, including those of inner models and wrappers, that Keras does not compile with XLA."""
        return [f"{place} ({type(layer).__name__})" for place, layer in walk(self.model) if not layer.supports_jit]

    def _compiles(self, asked: bool | None) -> bool:
        """Whether steps are compiled with XLA."""
        if asked is None:
            convolves = any("Conv" in type(layer).__name__ for _, layer in walk(self.model))
            return backend().compiles_always or (backend().compiles and not (convolves or self.without_xla))
        if asked and not backend().compiles:
            raise ValueError(
                f"Expected jit_compile=None or False with Keras on {self.backend}, which does not compile with XLA. "
                f"Received: {asked}."
            )
        if asked and self.without_xla and not backend().compiles_always:
            raise ValueError(
                f"Expected jit_compile=None or False for layers that Keras does not compile with XLA: "
                f"{', '.join(self.without_xla)}. Received: {asked}."
            )
        return asked

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each prunable weight in pruning rates: `dense`, `conv`, `embedding` or `output`."""
        return {weight.key: weight.kind for weight in self.prunable}

    @property
    def mask(self) -> Mask:
        """The mask of the model's prunable weights; can be assigned."""
        return get_mask(self.model)

    @mask.setter
    def mask(self, mask: Mapping[str, np.ndarray]) -> None:
        set_mask(self.model, mask)

    @property
    def weights(self) -> Mapping[str, np.ndarray]:
        """All weights by key, without the masks; a mapping of all of them can be assigned.

        Each weight is copied when its key is accessed, so that memory holds one copy at a time.
        `dict(network.weights)` copies all of them.
        """
        return self._weights

    @weights.setter
    def weights(self, weights: Mapping[str, np.ndarray]) -> None:
        if weights is self._weights:
            raise ValueError(
                "Expected a copy of weights, since network.weights reads the current values. "
                "Received: network.weights. Copy them before they change: dict(network.weights)."
            )
        self._assign(weights)

    @cached_property
    def _weights(self) -> LazyArrays:
        return self.by_key(lambda key: own_array(self.variables[key]))

    def by_key(self, make: Callable[[str], np.ndarray]) -> LazyArrays:
        """Arrays of all weights by key; `make` makes one of its shape when its key is accessed."""
        return LazyArrays({key: tuple(variable.shape) for key, variable in self.variables.items()}, make)

    def _assign(self, weights: Mapping[str, np.ndarray], mask: Mask | None = None) -> None:
        if weights.keys() != self.variables.keys():
            raise ValueError(f"Expected weights for {list(self.variables)}. Received: {list(weights)}.")
        if mask is not None:
            self.mask = mask
        for key, variable in self.variables.items():
            value = weights[key]
            assign(variable, value if mask is None or key not in mask else value * mask[key])
            del value  # frees memory before the next one is made

    def draw_weights(self, seed: int, *names: str | int, given: bool = True) -> Mapping[str, np.ndarray]:
        """Draws all weights from their initialisers without changing the model.

        Args:
            seed: seed of the draw.
            names: further names that determine the draw; equal seeds and names give equal weights.
            given: whether to return weights that `build` gives unchanged. Those of frozen layers always are.

        Returns:
            Key -> array of all weights, including biases and statistics. Each is drawn again, with the same values,
            when its key is accessed.
        """
        return draw_weights(
            self._owners,
            lambda: variables(masked_copy(self._build())),
            lambda key: seeds.integer(seed, *names, key),
            kept={key: value for key, value in self.given.weights.items() if given or key in self.given.frozen},
            as_built=given and self.given.start == "given",
        )

    def rewind(self, weights: Mapping[str, np.ndarray], mask: Mask) -> None:
        """Assigns the weights and mask of a ticket; pruned weights become zero.

        Args:
            weights: all weights by key.
            mask: mask of the prunable weights.
        """
        self._assign(weights, mask)
