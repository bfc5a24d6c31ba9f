"""A small masked model that is trained for some updates, and a callback that remembers each of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from lth_keras.callbacks.updates import updates_of
from lth_keras.mask import Mask
from lth_keras.masking import get_mask, mask_model, prunable_weights, variables
from tests.backend import JIT
from tests.tiny import data

X, Y = data()["train"]
BATCH = 10
BATCHES = len(X) // BATCH
"""In an epoch: 12."""
SIZE = 8 * 16 + 16 * 3


def dense_model(dtype: Any = None) -> keras.Model:
    """8-16-3 with weights that are always the same."""
    seeds = [keras.initializers.GlorotUniform(seed) for seed in (1, 2)]
    hidden = keras.layers.Dense(16, "relu", name="hidden", kernel_initializer=seeds[0], dtype=dtype)
    output = keras.layers.Dense(3, name="output", kernel_initializer=seeds[1], dtype=dtype)
    return keras.Sequential([keras.Input((8,)), hidden, output, keras.layers.Softmax(dtype="float32")])


def compiled(optimizer: Any = None, dtype: Any = None, **options: Any) -> keras.Model:
    """The masked model, compiled."""
    options = {"jit_compile": JIT, **options}
    model = mask_model(dense_model(dtype))
    model.compile(optimizer or keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", **options)
    return model


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 2, **options: Any) -> None:
    """Trains in the order of the examples."""
    given = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **given)


class Witness(keras.callbacks.Callback):
    """Remembers masks, weights and the optimiser's variables after each update, by their number."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[int, Mask] = {}
        self.weights: dict[int, dict[str, np.ndarray]] = {}
        self.slots: dict[int, dict[str, dict[str, np.ndarray]]] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        model = self.model
        count = updates_of(model)
        if count in self.masks:
            return
        self.masks[count] = get_mask(model)
        self.weights[count] = {key: np.array(keras.ops.convert_to_numpy(v)) for key, v in variables(model).items()}
        self.slots[count] = slots(model)


def slots(model: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """What the optimiser keeps of each prunable weight in its shape, by the names that Keras gives its variables."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for weight in prunable_weights(model):
        found[weight.key] = {}
        for variable in model.optimizer.variables:
            _, of_weight, kind = variable.path.partition(weight.variable.path.replace("/", "_") + "_")
            if of_weight and variable.shape == weight.variable.shape:
                found[weight.key][kind] = np.array(keras.ops.convert_to_numpy(variable))
    return found


def nested(masks: list[Mask]) -> bool:
    """Whether each keeps only what the one before keeps."""
    return all(later.is_subset(earlier) for earlier, later in zip(masks, masks[1:], strict=False))
