"""The size of the run that searches are compared with, see conftest.py, and parts of it."""

from __future__ import annotations

from typing import Any

from lth_keras.search.run import Run
from lth_keras.search.tasks import pending_tasks
from tests.tiny import ALL

SEEDS, LEVELS = (0, 1), 3
TASKS = pending_tasks((), [0], ALL, 2)


def expected_of(run: Run, trials: int, levels: int, branches: tuple[str, ...] = ALL) -> Any:
    """The part of the whole run that a smaller one has."""
    return run.dataset.isel(trial=slice(trials), level=slice(levels + 1)).sel(
        branch=list(branches), other_branch=list(branches)
    )
