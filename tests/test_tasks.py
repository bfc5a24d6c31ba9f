"""The order of a search's trainings."""

from __future__ import annotations

from lth_keras.tasks import Task, is_ready, pending_tasks
from tests.tiny import ALL


def test_controls_wait_for_the_winning_ticket() -> None:
    dense, first, second = Task(0, "dense", 0), Task(0, "winning_ticket", 1), Task(0, "winning_ticket", 2)
    control = Task(0, "random_mask", 2)
    assert is_ready(dense, set())
    assert not is_ready(first, set()) and is_ready(first, {dense})
    assert not is_ready(second, {dense}) and is_ready(second, {first})
    assert not is_ready(control, {dense, first, Task(0, "random_mask", 1)})
    assert is_ready(control, {dense, first, second})
    assert not is_ready(Task(1, "winning_ticket", 1), {dense})


def test_every_task_is_ready_once_those_before_it_are_done() -> None:
    done: set[tuple[int, str, int]] = set()
    tasks = pending_tasks(done, (3, 4), ALL, 2)
    assert len(tasks) == len(set(tasks)) == 2 * 7
    for task in tasks:
        assert is_ready(task, done)
        done.add(task)
    assert pending_tasks(done, (3, 4), ALL, 2) == []
    assert pending_tasks(done - {Task(3, "random_mask", 1)}, (3, 4), ALL, 2) == [Task(3, "random_mask", 1)]


def test_controls_are_trained_where_asked() -> None:
    tasks = pending_tasks((), [0], ALL, 3, control_levels=(2,))
    assert [task for task in tasks if task.branch not in ("dense", "winning_ticket")] == [
        Task(0, branch, 2) for branch in ALL if branch != "winning_ticket"
    ]
    assert [task.level for task in tasks if task.branch in ("dense", "winning_ticket")] == [0, 1, 2, 3]
