"""Analysis of a run: statistics, comparisons, distributions, names of variables. Reads and writes no files."""

from lth_keras.analysis.comparison import Comparison, common_variable, compare, units_of
from lth_keras.analysis.distributions import Distribution, Distributions, distribution, rank_correlations
from lth_keras.analysis.measured import (
    at_early_stop,
    at_the_end,
    metric_name,
    metric_of,
    on_split,
    shown_factor,
    validated,
)
from lth_keras.analysis.schema import CURVES, SCALARS, SCHEMA_VERSION, MetricName
from lth_keras.analysis.statistics import Spread, spread

__all__ = [
    "Comparison",
    "CURVES",
    "SCALARS",
    "SCHEMA_VERSION",
    "MetricName",
    "Distribution",
    "Distributions",
    "Spread",
    "at_early_stop",
    "at_the_end",
    "common_variable",
    "compare",
    "distribution",
    "metric_name",
    "metric_of",
    "on_split",
    "rank_correlations",
    "shown_factor",
    "spread",
    "units_of",
    "validated",
]
