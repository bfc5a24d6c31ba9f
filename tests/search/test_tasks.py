"""The order of a search's trainings."""

from __future__ import annotations

import pytest

from lth_keras.search.tasks import Task, is_ready, pending_tasks, ready_together, tickets_at_a_time
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


def test_a_level_of_all_trials_and_branches_is_ready_together():
    pending = pending_tasks((), (0, 1), ALL, 2)
    finished = set()
    groups = []
    while group := ready_together(pending, finished, 6):
        finished |= set(group)
        pending = [task for task in pending if task not in finished]
        groups.append([(task.seed, task.branch, task.level) for task in group])
    level = lambda n: [(seed, branch, n) for seed in (0, 1) for branch in ALL]  # noqa: E731
    assert groups == [[(0, "dense", 0), (1, "dense", 0)], level(1), level(2)]
    assert not pending


@pytest.mark.parametrize("most", [1, 2, 4, 5, 100])
def test_whatever_the_width_each_can_start_and_be_written_in_its_turn(most):
    pending = pending_tasks((), (0, 1, 2), ALL, 3, control_levels=(1, 3))
    finished, total = set(), len(pending)
    while group := ready_together(pending, finished, most):
        assert len(group) <= most
        for task in group:
            assert task.level == 0 or Task(task.seed, *_winning(task.level - 1)) in finished
        for task in group:
            if task.branch not in ("dense", "winning_ticket"):
                assert Task(task.seed, *_winning(task.level)) in finished
            finished.add(task)
        pending = [task for task in pending if task not in finished]
    assert len(finished) == total


def _winning(level):
    return ("winning_ticket", level) if level else ("dense", 0)


def test_where_levels_wait_for_none_all_of_them_are_ready_at_a_time() -> None:
    assert tickets_at_a_time(ALL, 5) == 3
    assert tickets_at_a_time(ALL, 5, {"winning_ticket", "another"}) == 5 + 2
