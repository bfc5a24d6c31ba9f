"""Trainings of a search that failed: the others go on, and all failures are said in the end."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from lth_keras.search.tasks import LevelError, Task, builds_on

SHOWN = 20
"""Failures that a message names."""


class Failures:
    """Collects what failed, and what cannot be trained for that.

    Args:
        independent: branches whose levels build on no other.
        reporter: see `lth_keras.system.progress.Reporter`; hears of failures where it has a method `failed`.
    """

    def __init__(self, independent: Collection[str] = (), reporter: Any = None) -> None:
        self._independent = independent
        self._hear = getattr(reporter, "failed", None)
        self._errors: dict[Task, LevelError] = {}
        self._skipped: set[Task] = set()

    def add(self, task: Task, error: LevelError) -> None:
        """Notes that a training failed."""
        self._errors[task] = error
        if self._hear is not None:
            self._hear(task, str(error))

    def rule_out(self, task: Task) -> bool:
        """Whether a task failed, or builds on one that did: of tasks in an order to do them in."""
        if task in self._errors:
            return True
        if any(before in self._errors or before in self._skipped for before in builds_on(task, self._independent)):
            self._skipped.add(task)
        return task in self._skipped

    def without(self, pending: Iterable[Task]) -> list[Task]:
        """Those of the tasks that are not ruled out; given in an order to do them in."""
        return [task for task in pending if not self.rule_out(task)]

    def raise_any(self) -> None:
        """Raises a `LevelError` that says all, where anything failed."""
        errors = list(self._errors.values())
        if not errors:
            return
        if len(errors) == 1 and not self._skipped:
            raise errors[0]
        lines = [str(error) for error in errors[:SHOWN]]
        if len(errors) > SHOWN:
            lines.append(f"and {len(errors) - SHOWN} more.")
        failed = "1 training" if len(errors) == 1 else f"{len(errors)} trainings"
        skipped = f" {len(self._skipped)} that build on what failed were left out." if self._skipped else ""
        raise LevelError("\n".join([f"{failed} failed; all others that were asked for are finished.{skipped}", *lines]))
