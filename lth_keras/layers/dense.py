"""Dense layer with a mask on its kernel."""

from __future__ import annotations

import keras

from lth_keras.layers.masked import MaskedLayer


@keras.saving.register_keras_serializable(package="lth_keras")
class MaskedDense(MaskedLayer, keras.layers.Dense):
    """`keras.layers.Dense` that computes `activation(x @ (kernel * kernel_mask) + bias)`.

    Args:
        As `keras.layers.Dense`.

    Attributes:
        kernel_mask: non-trainable boolean weight of the kernel's shape, `(inputs, units)`; all True after build.

    Example:
        >>> import numpy as np
        >>> layer = MaskedDense(2, kernel_initializer="ones")
        >>> layer.build((None, 3))
        >>> layer.kernel_mask.assign(np.array([[1, 0], [1, 0], [0, 0]], bool))
        >>> layer(np.ones((1, 3), "float32"))  # [[2., 0.]]
    """
