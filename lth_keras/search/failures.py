"""Collects failed trainings, so that the others continue and one error at the end lists all failures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lth_keras.search.tasks import LevelError, Task, builds_on

SHOWN = 20
"""The most failures that the error lists."""


class Failures:
    """Collects failed tasks and the tasks that depend on them.

    Args:
        independent: branches whose levels do not depend on other levels.
        reporter: see `lth_keras.system.progress.Reporter`. Its method `failed`, if it has one, is called at a failure.
    """

    def __init__(self, independent: Collection[str] = (), reporter: Any = None) -> None:
        self._independent = independent
        self._report = getattr(reporter, "failed", None)
        self._errors: dict[Task, LevelError] = {}
        self._skipped: set[Task] = set()

    def add(self, task: Task, error: LevelError) -> None:
        """Records a failed task."""
        self._errors[task] = error
        if self._report is not None:
            self._report(task, str(error))

    @contextmanager
    def collected(self, task: Task) -> Iterator[None]:
        """Records a `LevelError` raised within it, so that other tasks continue."""
        try:
            yield
        except LevelError as error:
            self.add(task, error)

    def rule_out(self, task: Task) -> bool:
        """Whether a task failed or depends on a failed one; call it on tasks in training order."""
        if task in self._errors:
            return True
        if any(before in self._errors or before in self._skipped for before in builds_on(task, self._independent)):
            self._skipped.add(task)
        return task in self._skipped

    def without(self, pending: Iterable[Task]) -> list[Task]:
        """The tasks, given in training order, that are not ruled out."""
        return [task for task in pending if not self.rule_out(task)]

    def raise_any(self) -> None:
        """Raises a `LevelError` that lists the failures, if there are any."""
        errors = list(self._errors.values())
        if not errors:
            return
        if len(errors) == 1 and not self._skipped:
            raise errors[0]
        lines = [str(error) for error in errors[:SHOWN]]
        if len(errors) > SHOWN:
            lines.append(f"and {len(errors) - SHOWN} more.")
        failed = "1 training" if len(errors) == 1 else f"{len(errors)} trainings"
        skipped = f" {len(self._skipped)} that depend on failed ones were skipped." if self._skipped else ""
        raise LevelError("\n".join([f"{failed} failed; all other requested ones are finished.{skipped}", *lines]))
