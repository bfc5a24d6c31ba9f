"""A run in words and tables."""

from lth_keras.report.listing import find_runs, list_table
from lth_keras.report.table import summary_table

__all__ = ["find_runs", "list_table", "summary_table"]
