from __future__ import annotations

import numpy as np
import pytest

from lth_keras.masking import mask_model, prunable_weights
from lth_keras.models import resnet


def test_the_residual_network_of_cifar_10_has_270_000_weights() -> None:
    """ResNet-20 in table 6 of He et al. (2016): 20 layers, 0.27 million weights; here with two 1x1 shortcuts."""
    model = resnet()
    kernels = {layer.name: int(np.prod(layer.kernel.shape)) for layer in model.layers if hasattr(layer, "kernel")}
    shortcuts = {name: kernels.pop(name) for name in list(kernels) if "shortcut" in name}
    assert (len(kernels), sum(kernels.values()), sum(shortcuts.values())) == (20, 268_336, 2_560)
    assert model.count_params() == 274_042 and model.output_shape == (None, 10)


def test_a_flat_image_is_folded_and_every_kernel_can_be_pruned() -> None:
    model = resnet(blocks=1, input_shape=(64,))
    assert model.get_layer("conv").output.shape[1:] == (8, 8, 16)
    assert len(prunable_weights(mask_model(model))) == 10
    for shape in ((65,), (8, 0, 1)):
        with pytest.raises(ValueError, match="Received: .*input_shape="):
            resnet(input_shape=shape)
