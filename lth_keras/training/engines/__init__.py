"""Engines, which train tickets: their protocol and registry."""

from __future__ import annotations

from lth_keras.training.engines.auto import engine_for, spelling_for
from lth_keras.training.engines.engine import Callbacks, Engine, Schedule, Ticket, Trained
from lth_keras.training.engines.native import sparse_forward
from lth_keras.training.engines.older_engines import older_identity, older_spelling, without_older
from lth_keras.training.engines.registry import (
    AUTO,
    ENGINES,
    check_spelling,
    engine_named,
    identity_of,
    recorded_spelling,
    width_of,
)
from lth_keras.training.engines.train import batch_order
