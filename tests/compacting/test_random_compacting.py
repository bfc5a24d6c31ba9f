"""Random models with dead structure: compacted, they compute the same function and are no larger."""

import warnings

import keras
import numpy as np
import pytest

from lth_keras.compacting import compact
from lth_keras.masking import get_mask, mask_model, set_mask, strip_masks, variables, walk
from tests.masking.models import outputs
from tests.masking.random_models import random_model


def dead_slices(generator, shape):
    """A mask without random slices along every axis."""
    mask = np.ones(shape, bool)
    for axis, size in enumerate(shape):
        dead = generator.random(size) < generator.choice([0, 0.3, 0.6])
        mask[(slice(None),) * axis + (dead,)] = False
    return mask


def randomise(model, generator):
    """Gives every weight another value, so that nothing is zero by chance; half of the biases stay zero."""
    for key, variable in variables(model).items():
        if "float" in variable.dtype and not key.endswith(("scale", "zero")):
            value = generator.normal(size=variable.shape) * 0.5
            variable.assign(np.abs(value) + 0.3 if "variance" in key else value * (generator.random() < 0.7))


def masked_model(seed):
    """A random masked model and inputs for it; None for one that mask_model refuses, as some quantised ones."""
    model, x = random_model(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return mask_model(model), x
        except (ValueError, NotImplementedError):
            return None, x


def is_quantised(model):
    return any(getattr(layer, "quantization_mode", None) for _, layer in walk(model))


def pruned_model(seed):
    """A random masked model with dead structure, and inputs for it; None where it cannot be masked."""
    masked, x = masked_model(seed)
    generator = np.random.default_rng(seed)
    if masked is not None and not is_quantised(masked):
        randomise(masked, generator)
        set_mask(masked, {key: dead_slices(generator, mask.shape) for key, mask in get_mask(masked).items()})
    return masked, x


def check(seed):
    """Returns the numbers of weights before and after."""
    masked, x = pruned_model(seed)
    if masked is None:
        return 0, 0
    expected = outputs(masked, x)[0]
    compacted = compact(masked)
    scale = max(1.0, float(np.abs(expected).max()))
    rounds = any(layer.compute_dtype == "bfloat16" for _, layer in walk(masked))
    tolerance = 2e-2 if rounds else 1e-5
    np.testing.assert_allclose(outputs(compacted, x)[0] / scale, expected / scale, atol=tolerance)
    before, after = strip_masks(masked).count_params(), compacted.count_params()
    assert after <= before
    return before, after


@pytest.mark.parametrize("seed", range(6))
def test_a_compacted_model_computes_the_same_function(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_compacted_models_compute_the_same_function(block):
    sizes = []
    for seed in range(1000 + 30 * block, 1030 + 30 * block):
        sizes.append(check(seed))
        keras.utils.clear_session()
    assert sum(after for _, after in sizes) < 0.95 * sum(before for before, _ in sizes)
