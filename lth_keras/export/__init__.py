"""Files to ship: tickets as mask and surviving values; models for LiteRT and ONNX."""

from __future__ import annotations

from lth_keras.export.models import export_model
from lth_keras.export.tickets import load_ticket, save_ticket
