"""The masks of a search's levels: made from the level before, or all before training."""

from __future__ import annotations

from dataclasses import dataclass

from lth_keras.arrays import Weights
from lth_keras.mask import Mask
from lth_keras.search.branches import BRANCHES, is_control
from lth_keras.search.selection import Selection
from lth_keras.search.tasks import Task
from lth_keras.search.tickets import control_mask, starting_mask
from lth_keras.storage import RunDirectory


@dataclass(frozen=True)
class LevelMasks:
    """Makes the masks of tasks and of their next levels.

    Args:
        selection: selects the weights to keep.
        of_drawn: whether masks made before training score the drawn weights where trials start from other weights.
    """

    selection: Selection
    of_drawn: bool

    def starting(self, directory: RunDirectory, task: Task, initial: Weights) -> Mask:
        """The mask of a task above level 0.

        Args:
            directory: has the levels that the task depends on.
            task: the task.
            initial: the trial's initial weights.

        Raises:
            ValueError: if a level that it depends on is not finished; see also `Selection.pruned`.
        """
        selection = self.selection
        if not selection.plan.before_training:
            return starting_mask(directory, task)
        weights = selection.network().draw_weights(task.seed, "initial") if self.of_drawn else initial
        dense = selection.dense()
        mask = selection.pruned(task.seed, dense, task.level, weights, weights)
        if is_control(task.branch) and mask.kept:
            return BRANCHES[task.branch].mask(dense, mask, task.seed, task.level)
        return mask

    def following(self, directory: RunDirectory, task: Task, mask: Mask, initial: Weights, final: Weights) -> Mask:
        """The mask of the branch's next level (after level 0: of the winning ticket's); `mask` if there is none.

        Args:
            directory: has the levels that the task depends on.
            task: the trained task.
            mask: its mask.
            initial: the trial's initial weights.
            final: the weights to score.

        Raises:
            ValueError: see `starting`.
        """
        plan = self.selection.plan
        if plan.before_training or not plan.goes_on_to(task.level + 1):
            return mask
        if is_control(task.branch):
            return control_mask(directory, task, mask)
        return self.selection.pruned(task.seed, mask, task.level + 1, initial, final)
