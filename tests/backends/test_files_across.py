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
from tests.backend import BACKEND, JIT

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [name for name in BACKENDS if name != BACKEND and importlib.util.find_spec(name)]
GENERATOR = np.random.default_rng(0)
X = [GENERATOR.normal(size=(4, 6, 6, 2)).astype("float32"), GENERATOR.integers(0, 20, (4, 9))]
Y = np.arange(4) % 3


def build() -> keras.Model:
    """A model of images and words."""
    layers = keras.layers
    images, words = keras.Input((6, 6, 2)), keras.Input((9,), dtype="int32")
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, kernel_regularizer="l2")(images))
    z = layers.Conv1D(5, 2, activation="relu")(layers.Embedding(20, 6)(words))
    both = [layers.Dropout(0.5)(layers.Flatten()(y)), layers.GlobalMaxPooling1D()(z)]
    return keras.Model([images, words], layers.Dense(3, "softmax")(layers.Concatenate()(both)))


def outputs(model: keras.Model) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(model(X, training=False))
    return array


def write(folder: Path) -> None:
    """Prunes and trains the model on this backend, and writes its files, its mask and its outputs."""
    pruned = lth.prune(build(), 0.4)
    pruned.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    pruned.fit(X, Y, epochs=2, verbose=0)
    pruned.save(folder / "masked.keras")
    pruned.save_weights(folder / "masked.weights.h5")
    lth.strip_masks(pruned).save(folder / "stripped.keras")
    np.savez(folder / "mask.npz", **lth.get_mask(pruned))
    np.save(folder / "outputs.npy", outputs(pruned))
    print(json.dumps({"backend": BACKEND}))


@pytest.mark.skipif(not OTHERS, reason="another backend is to be installed")
@pytest.mark.parametrize("other", OTHERS)
def test_what_another_backend_wrote_computes_and_trains_the_same_here(other: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.backends.test_files_across", str(tmp_path)]
    environment = {**os.environ, "KERAS_BACKEND": other}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"backend": other}
    expected = np.load(tmp_path / "outputs.npy")
    loaded = keras.saving.load_model(tmp_path / "masked.keras")
    loaded.jit_compile = JIT
    with np.load(tmp_path / "mask.npz") as file:
        mask = lth.Mask(dict(file))
    assert lth.get_mask(loaded) == mask and 0.3 < mask.density < 0.5
    again = lth.mask_model(build())
    again.load_weights(tmp_path / "masked.weights.h5")
    stripped = keras.saving.load_model(tmp_path / "stripped.keras")
    for model in (loaded, again, stripped):
        np.testing.assert_allclose(outputs(model), expected, rtol=1e-4, atol=1e-6)
    fresh = lth.mask_model(build())
    lth.set_mask(fresh, mask)
    assert lth.get_mask(fresh) == mask
    if other == "torch":  # Keras saves PyTorch's own optimiser, which runs on no other backend
        loaded.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    loaded.fit(X, Y, epochs=1, verbose=0)  # with the optimiser's state of the other backend
    assert lth.get_mask(loaded) == mask and not np.array_equal(outputs(loaded), expected)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
