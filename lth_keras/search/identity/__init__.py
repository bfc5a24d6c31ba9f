"""A search's identity: JSON of everything that affects its results; `storage.record` hashes it."""

from __future__ import annotations

from lth_keras.search.identity.as_json import describe, describe_changes, digest, former
from lth_keras.search.identity.model import describe_model
