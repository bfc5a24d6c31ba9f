"""From scores to masks: rates, densities, ranking, shots, and `prune`."""
