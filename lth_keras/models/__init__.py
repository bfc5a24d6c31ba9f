"""Architectures of the papers, as plain Keras models.

Names are imported at first use, so that counting a model's weights imports neither Keras nor a backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_keras.models.conv import conv_2, conv_4, conv_6, vgg
    from lth_keras.models.lenet import lenet_300_100
    from lth_keras.models.newsgroups import newsgroups_end2end, newsgroups_end2end_sizes
    from lth_keras.models.residual import resnet
    from lth_keras.models.reuters import reuters_cnn, reuters_cnn_sizes
    from lth_keras.models.sizes import LayerSize

_HOMES = {
    "LayerSize": "sizes",
    "conv_2": "conv",
    "conv_4": "conv",
    "conv_6": "conv",
    "lenet_300_100": "lenet",
    "newsgroups_end2end": "newsgroups",
    "newsgroups_end2end_sizes": "newsgroups",
    "resnet": "residual",
    "reuters_cnn": "reuters",
    "reuters_cnn_sizes": "reuters",
    "vgg": "conv",
}

__all__ = [
    "LayerSize",
    "conv_2",
    "conv_4",
    "conv_6",
    "lenet_300_100",
    "newsgroups_end2end",
    "newsgroups_end2end_sizes",
    "resnet",
    "reuters_cnn",
    "reuters_cnn_sizes",
    "vgg",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
