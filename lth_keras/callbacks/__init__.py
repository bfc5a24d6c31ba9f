"""Callbacks of Keras' `fit` that prune, or write how much is pruned, while it trains."""

from __future__ import annotations

from lth_keras.callbacks.dynamic import DynamicSparseTraining
from lth_keras.callbacks.gradual import GradualPruning
from lth_keras.callbacks.summaries import PruningSummaries
