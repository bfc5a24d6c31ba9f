"""Dead structure: which units, filters, heads and embedding columns do nothing; models without them."""

from __future__ import annotations

from lth_keras.compacting.compact import compact, structure
from lth_keras.compacting.sets import Along, channel_sets
from lth_keras.compacting.structure import Structure
