"""Pruned models for `benchmarks.golden`: masks, outputs, and saved files that each tree reads from the other.

    python benchmarks/golden_models.py OUT [BACKEND]

Runs in the tree in PYTHONPATH. Also reads models in OUT's sibling `ref` and writes their outputs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = sys.argv[2] if len(sys.argv) > 2 else "tensorflow"

import keras
import numpy as np

import lth_keras as lth

LOSS = "sparse_categorical_crossentropy"
PRUNINGS = [
    *((name, "global", 1) for name in ("magnitude", "random", "snip", "grasp", "synflow")),
    *(("magnitude", scope, 1) for scope in ("layer", "uniform", "erk")),
    ("synflow", "global", 20),
    ("snip", "layer", 3),
]


def model() -> keras.Model:
    """A small model with every masked layer type."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = keras.Input((12,), dtype="int32")
    embedded = layers.Embedding(50, 8)(x)
    convolved = layers.Conv1D(12, 3, activation="relu")(embedded)
    image = layers.Reshape((10, 12, 1))(convolved)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, activation="relu")(image))
    return keras.Model(x, layers.Dense(3, "softmax")(layers.Dense(64, "relu")(pooled)))


def main() -> None:
    """Writes the files that `benchmarks.golden` compares."""
    out = Path(sys.argv[1])
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 50, (30, 12)).astype(np.int32), np.arange(30) % 3
    found: dict[str, Any] = {}
    for criterion, scope, shots in PRUNINGS:
        pruned = lth.prune(model(), 0.3, criterion, scope, data=(x, y), loss=LOSS, shots=shots)
        name = f"{criterion}_{scope}_{shots}"
        found |= {f"{name}/{key}": value for key, value in lth.get_mask(pruned).items()}
        found[f"{name}/outputs"] = np.asarray(pruned(x))
        pruned.save(out / f"{name}_masked.keras")
        lth.strip_masks(pruned).save(out / f"{name}_stripped.keras")
    folder = out.parent / "ref"
    for path in sorted(folder.glob("*.keras")):  # REF reads its own files: it runs first
        found[f"read/{path.stem}"] = np.asarray(keras.models.load_model(path)(x))
    np.savez(out / "models.npz", **{name.replace("/", "."): value for name, value in found.items()})


if __name__ == "__main__":
    main()
