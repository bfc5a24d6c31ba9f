"""One model of each family of keras.applications is masked, pruned, trained, stripped, saved and loaded.

InceptionResNetV2, with 54 million weights, is left out, and so are the larger members of the families.
"""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import lth_keras as lth
from lth_keras.masking import get_mask, strip_masks, variables

FAMILIES = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}
LEFT_OUT = ("InceptionResNetV2",)


def test_every_family_is_tried() -> None:
    names = [name for name, one in vars(keras.applications).items() if callable(one) and name[0].isupper()]
    families = {name.rstrip("0123456789") for name in [*FAMILIES, *LEFT_OUT]}
    known = ("ConvNeXt", "DenseNet", "EfficientNetB", "EfficientNetV2", "MobileNetV3", "NASNet", "ResNet")
    missing = [n for n in names if n.rstrip("0123456789") not in families and not n.startswith(known)]
    assert missing == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name: str, tmp_path: Path) -> None:
    size = FAMILIES[name]
    base = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg"
    )
    assert sum(math.prod(variable.shape) for variable in base.weights) < 30e6
    model = keras.Sequential([keras.Input((size, size, 3)), base, keras.layers.Dense(2, "softmax")])
    x = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
    kernels = sum(v.shape and len(v.shape) > 1 and "kernel" in v.name for v in model.weights)
    assert check_the_whole_way(model, x, tmp_path) == kernels
    keras.utils.clear_session()
    gc.collect()


def check_the_whole_way(model: keras.Model, x: Any, folder: Path) -> int:
    """Masks a classifier of two classes, prunes half, trains a step, strips, saves, loads; the weights it pruned."""
    expected = np.asarray(model.predict(x, verbose=0))
    np.testing.assert_allclose(lth.mask_model(model).predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    pruned = lth.prune(model, 0.5, scope="layer")  # globally, a layer of untrained weights can lose nearly all
    mask = get_mask(pruned)
    assert mask.kept == round(0.5 * mask.size)
    before = {key: np.array(value) for key, value in variables(pruned).items() if key in mask}
    pruned.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    pruned.train_on_batch(x, np.arange(len(expected)) % 2)
    moved = 0
    for key, value in variables(pruned).items():
        if key in mask:
            changed = np.array(value) != before[key]
            assert not changed[~mask[key]].any(), key
            moved += int(changed.any())
    assert moved > len(mask) / 2, "the step has changed few kernels"
    trained = np.asarray(pruned.predict(x, verbose=0))
    stripped = strip_masks(pruned)
    np.testing.assert_allclose(stripped.predict(x, verbose=0), trained, rtol=1e-4, atol=1e-5)
    for saved, one in {"masked": pruned, "plain": stripped}.items():
        one.save(folder / f"{saved}.keras")
        loaded = keras.models.load_model(folder / f"{saved}.keras")
        np.testing.assert_allclose(loaded.predict(x, verbose=0), trained, rtol=1e-4, atol=1e-5)
    return len(mask)
