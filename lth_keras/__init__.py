"""lth_keras: finds winning lottery tickets in Keras models.

Names are imported at first use, so opening result files needs neither Keras nor a backend. When Keras is imported,
before or after this package, the masked layers are registered, so that Keras can load saved models with them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from lth_keras.callbacks import DynamicSparseTraining, GradualPruning, PruningSummaries
    from lth_keras.compacting import compact, structure
    from lth_keras.export import export_model, load_ticket, save_ticket
    from lth_keras.layers import MaskedConv1D, MaskedConv2D, MaskedDense, MaskedEmbedding, register_prunable
    from lth_keras.mask import Mask
    from lth_keras.masking import get_mask, mask_model, set_mask, strip_masks, summary
    from lth_keras.pruning import prune
    from lth_keras.search import (
        LevelError,
        Pruning,
        Run,
        TicketSearch,
        Training,
        WorkerDiedError,
        WorkerError,
        WorkerStartError,
    )
    from lth_keras.storage import InUseError, load_mask, open_run, save_mask
    from lth_keras.system import NotEnoughMemoryError
    from lth_keras.training import Network, NonFiniteLossError, sparse_forward

__version__ = "0.1.0"

_HOMES = {
    "DynamicSparseTraining": "callbacks",
    "GradualPruning": "callbacks",
    "InUseError": "storage",
    "LevelError": "search",
    "Mask": "mask",
    "MaskedConv1D": "layers",
    "MaskedConv2D": "layers",
    "MaskedDense": "layers",
    "MaskedEmbedding": "layers",
    "Network": "training",
    "NonFiniteLossError": "training",
    "NotEnoughMemoryError": "system",
    "Pruning": "search",
    "PruningSummaries": "callbacks",
    "Run": "search",
    "TicketSearch": "search",
    "Training": "search",
    "WorkerDiedError": "search",
    "WorkerError": "search",
    "WorkerStartError": "search",
    "compact": "compacting",
    "export_model": "export",
    "get_mask": "masking",
    "load_mask": "storage",
    "load_ticket": "export",
    "mask_model": "masking",
    "open_run": "storage",
    "prune": "pruning",
    "register_prunable": "layers",
    "save_mask": "storage",
    "save_ticket": "export",
    "set_mask": "masking",
    "sparse_forward": "training",
    "strip_masks": "masking",
    "structure": "compacting",
    "summary": "masking",
}

__all__ = [
    "DynamicSparseTraining",
    "GradualPruning",
    "InUseError",
    "LevelError",
    "Mask",
    "MaskedConv1D",
    "MaskedConv2D",
    "MaskedDense",
    "MaskedEmbedding",
    "Network",
    "NonFiniteLossError",
    "NotEnoughMemoryError",
    "Pruning",
    "PruningSummaries",
    "Run",
    "TicketSearch",
    "Training",
    "WorkerDiedError",
    "WorkerError",
    "WorkerStartError",
    "compact",
    "export_model",
    "get_mask",
    "load_mask",
    "load_ticket",
    "mask_model",
    "open_run",
    "prune",
    "register_prunable",
    "save_mask",
    "save_ticket",
    "set_mask",
    "sparse_forward",
    "strip_masks",
    "structure",
    "summary",
]


@wrapt.when_imported("keras")
def _register_layers(keras: Any) -> None:
    # Keras finds the class of a saved layer by its registered name.
    importlib.import_module("lth_keras.layers")


@wrapt.when_imported("lth_keras.layers")
def _register_models(layers: Any) -> None:
    # A hook of its own: whoever imports lth_keras.layers first imports Keras halfway through it.
    importlib.import_module("lth_keras.masking")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
