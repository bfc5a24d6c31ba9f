"""Runs in a directory, and their finished levels."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from rich import box

from lth_keras.analysis import BRANCH_ORDER, DENSE
from lth_keras.storage import CONFIG_FILE, RUN_FILE, Level, RunDirectory, finished_levels, open_run
from lth_keras.system import Table

_FIRST = (DENSE, *BRANCH_ORDER)


def find_runs(directory: str | os.PathLike[str]) -> list[Path]:
    """Run directories: `directory` itself and those directly inside it, sorted by name.

    A run is a directory with a config.json (written by a search) or a run.h5 (copied from one).

    Raises:
        FileNotFoundError, NotADirectoryError: `directory` is not a directory.
    """
    directory = Path(os.path.expanduser(directory))
    inside = sorted(path for path in directory.iterdir() if path.is_dir())
    return [path for path in [directory, *inside] if (path / RUN_FILE).exists() or (path / CONFIG_FILE).exists()]


def list_table(directory: str | os.PathLike[str]) -> Table:
    """Experiment, number of started trials, and finished levels for each run and branch.

    Raises:
        FileNotFoundError: There is no such directory, or no run in it.
        NotADirectoryError: It is a file.
    """
    runs = find_runs(directory)
    if not runs:
        raise FileNotFoundError(
            f"Expected: a directory that holds runs (with {CONFIG_FILE} or {RUN_FILE}). "
            f"Received: {os.fspath(directory)!r} without runs"
        )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("run", "experiment", "branch"):
        table.add_column(column, overflow="fold")
    for column in ("trials", "levels finished"):
        table.add_column(column, justify="right")
    for path in runs:
        table.add_section()
        try:
            experiment, levels = _contents(path)
        except (OSError, ValueError) as error:
            table.add_row(path.resolve().name, f"cannot be read: {error}")
            continue
        found = {branch for _, branch, _ in levels}
        branches = [*filter(found.__contains__, _FIRST), *sorted(found.difference(_FIRST))]
        rows = [(branch, *_progress(levels, branch)) for branch in branches] or [("none", "0", "")]
        for number, row in enumerate(rows):
            table.add_row(*([path.resolve().name, experiment] if number == 0 else ["", ""]), *row)
    return table


def _contents(path: Path) -> tuple[str, set[Level]]:
    if (path / CONFIG_FILE).exists():
        run = RunDirectory.load(path)
        return run.experiment, run.finished()
    dataset = open_run(path)
    return str(dataset.attrs["experiment"]), finished_levels(dataset)


def _progress(levels: set[Level], branch: str) -> tuple[str, str]:
    """Number of trials of a branch, and its least and greatest number of levels without a gap."""
    first = 0 if any(name == branch and level == 0 for _, name, level in levels) else 1
    reached = [
        next(level for level in itertools.count(first) if (seed, branch, level) not in levels) - first
        for seed in {seed for seed, name, _ in levels if name == branch}
    ]
    least, most = min(reached), max(reached)
    return str(len(reached)), str(most) if least == most else f"{least} to {most}"
