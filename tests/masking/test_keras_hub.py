"""Backbones of keras-hub, small by their constructors, are masked, pruned, trained, stripped, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.masking.test_applications import check_the_whole_way

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub_models():
    """The module with the backbones."""
    return pytest.importorskip("keras_hub", reason="keras-hub is not installed").models


def test_a_transformer(hub_models, tmp_path: Path) -> None:
    backbone = hub_models.BertBackbone(
        vocabulary_size=30, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=6
    )
    inputs = {
        name: keras.Input((6,), dtype="int32", name=name) for name in ("token_ids", "segment_ids", "padding_mask")
    }
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(backbone(inputs)["pooled_output"]))
    generator = np.random.default_rng(0)
    x = {
        "token_ids": generator.integers(0, 30, (4, 6)),
        "segment_ids": generator.integers(0, 2, (4, 6)),
        "padding_mask": np.ones((4, 6), "int32"),
    }
    # Tables of words and segments; 4 kernels of attention and 2 dense ones a layer; the pooler and the head.
    assert check_the_whole_way(model, x, tmp_path) == 2 + 2 * 6 + 2


def test_a_residual_network(hub_models, tmp_path: Path) -> None:
    backbone = hub_models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(16, 16, 3),
    )
    inputs = keras.Input((16, 16, 3))
    features = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(features))
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    kernels = sum(len(v.shape) > 1 and "kernel" in v.name for v in model.weights)
    assert check_the_whole_way(model, x, tmp_path) == kernels
