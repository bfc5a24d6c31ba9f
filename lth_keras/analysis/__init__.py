"""Analysis of a run: statistics, comparisons, distributions, names of variables. Reads and writes no files."""

from lth_keras.analysis.comparison import Comparison, Row, common_variable, compare, units_of
from lth_keras.analysis.distributions import (
    QUANTILES,
    SIGNS,
    Distribution,
    Distributions,
    distribution,
    rank_correlations,
)
from lth_keras.analysis.measured import (
    at_early_stop,
    at_the_end,
    metric_name,
    metric_of,
    on_split,
    scale_of,
    shown_factor,
    validated,
)
from lth_keras.analysis.metrics import MISSING, averages, counts_by_class, without_example
from lth_keras.analysis.overlap import OTHER, OVERLAP, PAIRS, chance_overlap, chance_overlaps, mask_overlaps
from lth_keras.analysis.paired import EXACT_PAIRS, RESAMPLES, TESTS, WILCOXON_EXACT, least_p, least_trials
from lth_keras.analysis.power import POWER
from lth_keras.analysis.schedules import SCHEDULES, explained, schedules_of
from lth_keras.analysis.schema import (
    ACCURACY,
    BRANCH_ORDER,
    COMMENTS,
    CONFUSION,
    COUNT_AXES,
    COUNTS,
    CURVES,
    DENSE,
    DIRECTIONS,
    MEANING,
    MICRO_F1,
    NO_VALIDATION,
    OUTCOMES,
    READABLE,
    SCALARS,
    SCHEMA_VERSION,
    MetricName,
    curves_of,
    metric_attributes,
    metric_of_attributes,
    scalars_of,
    version_of,
)
from lth_keras.analysis.statistics import Interval, Spread, spread
