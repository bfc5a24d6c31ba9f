"""What a search writes and what reads it back: levels, run directories, run.h5. No keras here."""

from lth_keras.results.comparison import Comparison, common_variable, compare, units_of
from lth_keras.results.directory import RunDirectory
from lth_keras.results.distributions import Distribution, Distributions, distribution, rank_correlations
from lth_keras.results.facts import DocumentLengths, Facts
from lth_keras.results.levels import DamagedFile, LevelResult, read_level, write_level
from lth_keras.results.lock import InUseError
from lth_keras.results.measured import at_early_stop, at_the_end, on_split, shown_factor
from lth_keras.results.record import path_part as check_path_part
from lth_keras.results.run import assemble, metric_name, metric_of, open_run, write_run
from lth_keras.results.schema import CURVES, SCALARS, SCHEMA_VERSION, MetricName
from lth_keras.results.statistics import Spread, spread
from lth_keras.results.tidy import curves_frame, levels_frame, write_csv

__all__ = [
    "CURVES",
    "SCALARS",
    "SCHEMA_VERSION",
    "Comparison",
    "DamagedFile",
    "Distribution",
    "Distributions",
    "DocumentLengths",
    "Facts",
    "InUseError",
    "LevelResult",
    "MetricName",
    "RunDirectory",
    "Spread",
    "assemble",
    "at_early_stop",
    "at_the_end",
    "check_path_part",
    "common_variable",
    "compare",
    "curves_frame",
    "distribution",
    "levels_frame",
    "metric_name",
    "metric_of",
    "on_split",
    "open_run",
    "rank_correlations",
    "read_level",
    "shown_factor",
    "spread",
    "units_of",
    "write_csv",
    "write_level",
    "write_run",
]
