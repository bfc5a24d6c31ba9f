"""Pruning while `fit` trains on two devices: every device has the same mask and the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backend import BACKEND

ROOT = Path(__file__).parents[2]
TWO = {
    "tensorflow": """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
scope = strategy.scope
def copies(variable):
    return [copy.numpy() for copy in variable.value.values]
""",
    "jax": """
import contextlib, keras, numpy as np
keras.distribution.set_distribution(keras.distribution.DataParallel())
scope = contextlib.nullcontext
def copies(variable):
    return [np.array(shard.data) for shard in variable.value.addressable_shards]
""",
}
"""Two devices out of one, before anything runs on it; the copies that they have of a variable."""
TRAIN = """
import lth_keras as lth
from lth_keras.masking import prunable_weights
from tests.callbacks.cases import SIZE, X, Y, compiled, fit

gradual = lambda: lth.GradualPruning(0.2, end=20, frequency=5)
often = dict(end=20, frequency=2, schedule="constant")
dynamic = lambda: lth.DynamicSparseTraining(0.2, method="rigl", data=(X, Y), **often)
for make in (gradual, dynamic):
    with scope():
        model = compiled()
    fit(model, make())
    assert lth.get_mask(model).kept == round(SIZE * 0.2)
    for weight in prunable_weights(model):
        for variable in (weight.mask, weight.variable):
            one, other = copies(variable)
            assert (one == other).all(), variable.path
        assert one.any()
print("the same")
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND not in TWO, reason="Keras distributes training on TensorFlow and JAX")
def test_every_device_has_the_same_mask() -> None:
    variables = {
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": BACKEND,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    child = [sys.executable, "-c", TWO[BACKEND] + TRAIN]
    result = subprocess.run(child, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1:] == ["the same"], result.stderr
