"""A search's identity: JSON of everything that affects its results; `storage.record` hashes it."""

from __future__ import annotations

from lth_keras.search.identity.data import digest
from lth_keras.search.identity.model import describe_model
from lth_keras.search.identity.search import describe, describe_changes, former
