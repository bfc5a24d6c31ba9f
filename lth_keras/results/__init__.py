"""What a search writes and what reads it back: levels, run directories, run.h5. No keras here."""

from lth_keras.results.comparison import Comparison, compare, units_of
from lth_keras.results.directory import RunDirectory
from lth_keras.results.distributions import Distribution, Distributions, distribution, rank_correlations
from lth_keras.results.facts import DocumentLengths, Facts
from lth_keras.results.levels import DamagedFile, LevelResult, read_level, write_level
from lth_keras.results.lock import InUseError
from lth_keras.results.record import path_part as check_path_part
from lth_keras.results.run import assemble, metric_name, open_run, write_run
from lth_keras.results.schema import CURVES, SCALARS, SCHEMA_VERSION
from lth_keras.results.statistics import Spread, spread

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
    "RunDirectory",
    "Spread",
    "assemble",
    "check_path_part",
    "metric_name",
    "compare",
    "distribution",
    "open_run",
    "rank_correlations",
    "read_level",
    "spread",
    "units_of",
    "write_level",
    "write_run",
]
