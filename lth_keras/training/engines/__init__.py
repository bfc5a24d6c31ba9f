"""Engines, which train tickets: their protocol and registry."""

from __future__ import annotations

from lth_keras.training.engines.engine import Callbacks, Engine, Schedule, Ticket, Trained
from lth_keras.training.engines.registry import (
    AUTO,
    ENGINES,
    check_spelling,
    engine_named,
    identity_of,
    recorded_spelling,
    width_of,
)

__all__ = [
    "AUTO",
    "ENGINES",
    "Callbacks",
    "Engine",
    "Schedule",
    "Ticket",
    "Trained",
    "check_spelling",
    "engine_named",
    "identity_of",
    "recorded_spelling",
    "width_of",
]
