"""What decides the numbers of a search, as JSON: the name of its run directory is a hash of it."""

from __future__ import annotations

from lth_keras.search.identity.data import digest
from lth_keras.search.identity.model import describe_model
from lth_keras.search.identity.search import describe, describe_changes, former

__all__ = ["describe", "describe_changes", "describe_model", "digest", "former"]
