"""The masks of a search's levels: each from the level before, or all of them made before training."""

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
    """Makes the masks that tasks begin and go on with.

    Args:
        selection: selects the weights to keep.
        of_drawn: whether masks made before training are of the drawn weights, where trials start from others.
    """

    selection: Selection
    of_drawn: bool

    def starting(self, directory: RunDirectory, task: Task, initial: Weights) -> Mask:
        """The mask that a task above level 0 trains under.

        Args:
            directory: has the levels that the task builds on.
            task: what is to be trained.
            initial: the trial's initial weights.

        Raises:
            ValueError: where a level that it builds on is not finished, or as `Selection.pruned`.
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
        """The mask of the branch's next level, of the winning ticket's after level 0; where there is none, its own.

        Args:
            directory: has the levels that the task builds on.
            task: what was trained.
            mask: the mask that it trained under.
            initial: the trial's initial weights.
            final: the weights to score.

        Raises:
            ValueError: as `starting`.
        """
        plan = self.selection.plan
        if plan.before_training or not plan.goes_on_to(task.level + 1):
            return mask
        if is_control(task.branch):
            return control_mask(directory, task, mask)
        return self.selection.pruned(task.seed, mask, task.level + 1, initial, final)
