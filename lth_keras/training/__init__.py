"""Training: a network and its data, one loop, what is measured, and the engines that train."""

from __future__ import annotations

from lth_keras.training.loop import Curves, NonFiniteLossError
from lth_keras.training.metrics import Counter, make_counter, make_metric
from lth_keras.training.order import BatchOrder

__all__ = ["BatchOrder", "Counter", "Curves", "NonFiniteLossError", "make_counter", "make_metric"]
