"""Training: networks with their data, the training loop, metrics and engines."""

from __future__ import annotations

from lth_keras.training.engines import sparse_forward
from lth_keras.training.given import Given, described, given_by, recorded
from lth_keras.training.loop import Curves, NonFiniteLossError
from lth_keras.training.metrics import Counter, make_counter, make_metric
from lth_keras.training.network import Network
from lth_keras.training.order import BatchOrder
