"""Random models: copies, with masks and without, from a file and not, compute the same function, or name a layer."""

import warnings

import keras
import numpy as np
import pytest

from lth_keras.masking import get_mask, mask_model, set_mask, strip_masks, walk
from tests.masking.models import outputs
from tests.masking.random_models import random_model


def check(seed, folder):
    model, x = random_model(seed)
    places = [place for place, _ in walk(model)]
    expected = outputs(model, x)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            masked = mask_model(model)
        except (ValueError, NotImplementedError) as error:
            assert any(place.split("/")[-1] in str(error) for place in places), error
            return
        same(masked, x, expected)
        same(strip_masks(masked), x, expected)
        if not any(layer.quantization_mode for _, layer in walk(masked) if hasattr(layer, "prunable")):
            generator = np.random.default_rng(seed)
            set_mask(masked, {key: generator.random(mask.shape) < 0.5 for key, mask in get_mask(masked).items()})
            expected = outputs(masked, x)[0]
        stripped = strip_masks(masked)
        same(stripped, x, expected)
        same(mask_model(masked), x, expected)
        lambdas = any(isinstance(layer, keras.layers.Lambda) for _, layer in walk(model))
        for i, copy in enumerate((masked, stripped)):
            path = folder / f"{i}.keras"
            copy.save(path)
            same(keras.models.load_model(path, safe_mode=not lambdas), x, expected)


def same(model, x, expected):
    np.testing.assert_allclose(outputs(model, x)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_copies_of_random_models_compute_the_same_function(seed, tmp_path):
    check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_copies_of_many_random_models_compute_the_same_function(block, tmp_path):
    for seed in range(100 + 30 * block, 130 + 30 * block):
        check(seed, tmp_path)
        keras.utils.clear_session()
        if keras.backend.backend() == "jax":  # its programs map 300 pieces of memory a model, and a process has 65,530
            import jax

            jax.clear_caches()
