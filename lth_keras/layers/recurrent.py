"""What recurrent layers with masks need beside their registry entry."""

from __future__ import annotations

from typing import Any

from lth_keras.layers.reading import another_reads


class NotFused:
    """Mixin for layers that Keras' `Bidirectional` runs in pairs on GPUs, with kernels that it reads itself.

    It would read them without their masks, so it is told that a pair is not to be run so: each layer then runs alone,
    by cuDNN where Keras can.
    """

    @property
    def use_cudnn(self) -> Any:
        """As Keras' argument; False while another layer's forward pass asks."""
        return False if another_reads() else vars(self).get("_self_use_cudnn")  # TensorFlow reads it before it is set

    @use_cudnn.setter
    def use_cudnn(self, value: Any) -> None:
        vars(self)["_self_use_cudnn"] = value
