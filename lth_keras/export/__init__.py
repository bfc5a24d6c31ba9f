"""Files to ship: tickets as mask and surviving values."""

from __future__ import annotations

from lth_keras.export.tickets import load_ticket, save_ticket
