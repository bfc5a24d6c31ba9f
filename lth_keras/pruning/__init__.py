"""From scores to masks: rates, densities, ranking, shots, and `prune`."""

from __future__ import annotations

from lth_keras.pruning.densities import SCOPES, check_reachable, counts_at, layer_counts
from lth_keras.pruning.layouts import Layout
from lth_keras.pruning.model_derivatives import ModelDerivatives, NothingPassesError
from lth_keras.pruning.oneshot import prune
from lth_keras.pruning.patterns import keep_as_many, layouts_for, one_density, pattern_of, pruned_by_pattern
from lth_keras.pruning.plan import Plan
from lth_keras.pruning.ranking import keep_highest
from lth_keras.pruning.regrowth import drop_and_grow
from lth_keras.pruning.scoring import current_weights, derivatives_on, scorer, warn_of_frozen, weights_by_key
from lth_keras.pruning.shots import part_of, prune_in_shots, prune_once
