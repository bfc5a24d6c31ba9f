"""Architectures of the papers, as plain Keras models.

Names are imported when first used: to count a model's weights takes neither Keras nor a backend.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_keras.models.lenet import lenet_300_100
    from lth_keras.models.newsgroups import LayerSize, newsgroups_end2end, newsgroups_end2end_sizes

_HOMES = {
    "LayerSize": "newsgroups",
    "lenet_300_100": "lenet",
    "newsgroups_end2end": "newsgroups",
    "newsgroups_end2end_sizes": "newsgroups",
}

__all__ = ["LayerSize", "lenet_300_100", "newsgroups_end2end", "newsgroups_end2end_sizes"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
