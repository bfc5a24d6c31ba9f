"""Files and masks that one backend has written, read on another."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import lth_keras as lth
from lth_keras.backends import BACKENDS
from tests.backend import BACKEND

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [name for name in BACKENDS if name != BACKEND and importlib.util.find_spec(name)]
GENERATOR = np.random.default_rng(0)
INPUTS = {
    "images": GENERATOR.normal(size=(4, 6, 6, 2)).astype("float32"),
    "words": GENERATOR.integers(0, 20, (4, 9)),
}


def build(name: str) -> keras.Model:
    layers = keras.layers
    if name == "images":
        between = [layers.Conv2D(4, 3, kernel_regularizer="l2"), layers.BatchNormalization(), layers.Flatten()]
        return keras.Sequential([keras.Input((6, 6, 2)), *between, layers.Dropout(0.5), layers.Dense(3, "softmax")])
    between = [layers.Embedding(20, 6), layers.Conv1D(5, 2, activation="relu"), layers.GlobalMaxPooling1D()]
    return keras.Sequential([keras.Input((9,), dtype="int32"), *between, layers.Dense(3, "softmax")])


def outputs(model: keras.Model, name: str) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(model(INPUTS[name], training=False))
    return array


def write(folder: Path) -> None:
    """Prunes and trains each model on this backend, and writes its files, its mask and its outputs."""
    for name, x in INPUTS.items():
        pruned = lth.prune(build(name), 0.4)
        pruned.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        pruned.fit(x, np.arange(len(x)) % 3, epochs=2, verbose=0)
        pruned.save(folder / f"{name}.keras")
        pruned.save_weights(folder / f"{name}.weights.h5")
        lth.strip_masks(pruned).save(folder / f"{name} stripped.keras")
        np.savez(folder / f"{name} mask.npz", **lth.get_mask(pruned))
        np.save(folder / f"{name}.npy", outputs(pruned, name))
    print(json.dumps({"backend": BACKEND}))


@pytest.mark.skipif(not OTHERS, reason="another backend is to be installed")
@pytest.mark.parametrize("other", OTHERS)
def test_what_another_backend_wrote_computes_and_trains_the_same_here(other: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.backends.test_files_across", str(tmp_path)]
    environment = {**os.environ, "KERAS_BACKEND": other}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"backend": other}
    for name, x in INPUTS.items():
        expected = np.load(tmp_path / f"{name}.npy")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        with np.load(tmp_path / f"{name} mask.npz") as file:
            mask = lth.Mask(dict(file))
        assert lth.get_mask(loaded) == mask and 0.3 < mask.density < 0.5
        again = lth.mask_model(build(name))
        again.load_weights(tmp_path / f"{name}.weights.h5")
        stripped = keras.saving.load_model(tmp_path / f"{name} stripped.keras")
        for model in (loaded, again, stripped):
            np.testing.assert_allclose(outputs(model, name), expected, rtol=1e-4, atol=1e-6)
        fresh = lth.mask_model(build(name))
        lth.set_mask(fresh, mask)
        assert lth.get_mask(fresh) == mask
        loaded.fit(x, np.arange(len(x)) % 3, epochs=1, verbose=0)  # with the optimiser's state of the other backend
        assert lth.get_mask(loaded) == mask and not np.array_equal(outputs(loaded, name), expected)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
