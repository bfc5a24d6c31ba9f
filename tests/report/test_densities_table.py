"""Accuracy at chosen densities: of the level that is near, or none."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import xarray
from rich.console import Console

from lth_keras.report import densities_table
from tests.synthetic import dataset


def rows(run: xarray.Dataset, densities: tuple[float, ...]) -> dict[str, list[str]]:
    """Cells by branch, each the words of its lines."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(densities_table(run, densities))
    cells: dict[str, list[str]] = {}
    for line in console.export_text().splitlines():
        if match := re.match(r" (winning_ticket|random_\w+)\s+(.*)", line):
            cells[match[1]] = match[2].split()
    return cells


def test_cells_are_means_at_the_nearest_level() -> None:
    run = dataset(trials=3, levels=8)
    found = rows(run, (1.0, 0.51, 0.21))
    for branch, cells in found.items():
        at = [100 * run.test_accuracy_final.sel(branch=branch, level=level).mean() for level in (0, 3, 7)]
        assert cells == [f"{float(mean):.2f}" for mean in at]
    assert len(found) == 3


def test_no_level_near_and_no_trial_there_is_a_dash() -> None:
    run = dataset(trials=2, levels=3)
    run.test_accuracy_final[:, 1, 3] = np.nan
    run.test_accuracy_final[1, 2, 3] = np.nan
    found = rows(run, (0.9, 0.51))
    assert found["winning_ticket"][0] == "-" and found["random_reinit"] == ["-", "-"]
    assert found["random_mask"][2] == "(1/2)"


@pytest.mark.parametrize(("width", "tables"), [(120, 1), (60, 2), (40, 3)])
def test_no_number_is_cut_short_where_the_console_is_narrow(width: int, tables: int) -> None:
    run, densities = dataset(trials=3, levels=8), tuple(0.8**level for level in range(9))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(densities_table(run, densities))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    numbers = re.findall(r"^ winning_ticket +(.*)", text, re.MULTILINE)
    assert len(numbers) == tables and len(" ".join(numbers).split()) == len(densities)
    assert text.count("by density") == 1


@pytest.mark.parametrize("densities", [(), (0.0,), (0.5, 20.0)])
def test_densities_that_are_none_are_refused(densities: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected: densities in \(0, 1\]\. Received: "):
        densities_table(dataset(trials=1, levels=1), densities)
