"""Convolutional layers with a mask on their kernel."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from lth_keras.layers.masked import MaskedLayer
from lth_keras.layers.rows import convolve_rows, looked_up


@keras.saving.register_keras_serializable(package="lth_keras")
class MaskedConv1D(MaskedLayer, keras.layers.Conv1D):
    """`keras.layers.Conv1D` that convolves with `kernel * kernel_mask`.

    Args:
        As `keras.layers.Conv1D`.

    Attributes:
        kernel_mask: non-trainable boolean weight of the kernel's shape, `(width, channels / groups, filters)`; all
            True after build.

    Example:
        >>> layer = MaskedConv1D(3, kernel_size=4)
        >>> layer.build((None, 200, 300))
        >>> layer.kernel_mask.shape
        (4, 300, 3)
    """

    def call(self, inputs: Any) -> Any:
        """Forward pass with the masked kernel; applied to the rows of a table where an embedding output the inputs."""
        source = looked_up(inputs)
        if source is None or not self._is_valid_and_plain or source.index.shape[1] < self.kernel_size[0]:
            return super().call(inputs)
        with self.masking():
            outputs = convolve_rows(source, ops.cast(self.kernel, source.table.dtype))
        if self.use_bias:
            outputs = ops.add(outputs, ops.cast(self.bias, outputs.dtype))
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def _is_valid_and_plain(self) -> bool:
        return (self.padding, self.strides, self.dilation_rate, self.groups, self.data_format) == (
            "valid",
            (1,),
            (1,),
            1,
            "channels_last",
        )


@keras.saving.register_keras_serializable(package="lth_keras")
class MaskedConv2D(MaskedLayer, keras.layers.Conv2D):
    """`keras.layers.Conv2D` that convolves with `kernel * kernel_mask`.

    Args:
        As `keras.layers.Conv2D`.

    Attributes:
        kernel_mask: non-trainable boolean weight of the kernel's shape, `(height, width, channels / groups,
            filters)`; all True after build.

    Example:
        >>> layer = MaskedConv2D(64, kernel_size=3, padding="same")
        >>> layer.build((None, 32, 32, 3))
        >>> layer.kernel_mask.shape
        (3, 3, 3, 64)
    """
