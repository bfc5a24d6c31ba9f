"""Tables of a run for the terminal, and CSV files."""

from lth_keras.report.comparison import compare_table, write_comparison
from lth_keras.report.constant import constant_table
from lth_keras.report.densities import densities_table
from lth_keras.report.description import counts_by_kind, layers_table, parameters_table, remaining_table, weights_table
from lth_keras.report.listing import find_runs, list_table
from lth_keras.report.table import summary_table
