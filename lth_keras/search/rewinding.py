"""The forms of rewinding: what a level's training starts from, after the first pruning."""

from __future__ import annotations

import re
from typing import NamedTuple

from lth_keras.arrays import TrainingState
from lth_keras.backends import OptimizerStart, Place
from lth_keras.system import shown

INIT, WEIGHTS, LEARNING_RATE, FINE_TUNE, NONE = "init", "weights", "learning_rate", "fine_tune", "none"
SPELLINGS = ("init", "step:K", "epoch:K", "learning_rate[:step:K]", "fine_tune[:step:K]", "none")
_SPELLING = re.compile(r"(init|none|learning_rate|fine_tune)|(?:(learning_rate|fine_tune):)?(step|epoch):(\d+)")


class Rewinding(NamedTuple):
    """What the levels after the dense network start from.

    The point K is the step of a training after which they begin: each makes the steps K + 1 to T of a training of T
    steps, in its own data order. It is 0 where none is given.

    - `init`: the initial weights and a new optimiser (Frankle & Carbin, 2019, arXiv:1803.03635).
    - `weights`, spelled `step:K` or `epoch:K`: weights, optimiser and place in the learning rate schedule of the dense
      network after step K (Frankle et al., 2019, arXiv:1903.01611; 2020, arXiv:1912.05671; weight rewinding in Renda et
      al., 2020, arXiv:2003.02389).
    - `learning_rate`: the weights at the end of the level before and a new optimiser, whose learning rate schedule
      begins at step K (learning rate rewinding in Renda et al., 2020).
    - `fine_tune`: the same at the constant learning rate of the schedule's last step T (fine-tuning there).
    - `none`: nothing is reset: weights, optimiser and step count of the end of the level before.

    Attributes:
        form: one of these.
        unit: of `number`, `step` or `epoch`.
        number: the point K.
    """

    form: str = INIT
    unit: str = "step"
    number: int = 0

    @property
    def continues(self) -> bool:
        """Whether a level starts from the end of the level before."""
        return self.form in (LEARNING_RATE, FINE_TUNE, NONE)

    @property
    def is_whole(self) -> bool:
        """Whether all trainings have all steps and a new optimiser, so that every engine can make them."""
        return self.form == INIT or (self.form == LEARNING_RATE and self.number == 0)

    @property
    def moves_schedule(self) -> bool:
        """Whether a learning rate schedule begins at another step than the optimiser."""
        return self.form == FINE_TUNE or (self.form == LEARNING_RATE and self.number > 0)

    def step(self, steps_per_epoch: int, steps: int) -> int:
        """The point K in steps.

        Args:
            steps_per_epoch: of the training data.
            steps: of a training.

        Raises:
            ValueError: for a point that is not before the end of a training.
        """
        step = self.number * (steps_per_epoch if self.unit == "epoch" else 1)
        if step >= steps:
            raise ValueError(
                f"Expected rewind to a step before the end of a training, 0 ... {steps - 1}. "
                f"Received: {self.unit} {self.number}, which is step {step}."
            )
        return step

    def optimizer(self, state: TrainingState, step: int, steps: int) -> OptimizerStart | None:
        """How the optimiser begins a training of `steps` steps from `state` after `step`; None for a new one."""
        if self.form == FINE_TUNE:
            return OptimizerStart(place=Place(steps - 1, moves=False))
        if self.form == LEARNING_RATE:
            return OptimizerStart(place=Place(step)) if step else None
        return OptimizerStart(values=state.optimizer)


def check_rewind(rewind: str) -> str:
    """The usual spelling of a form of rewinding.

    Raises:
        ValueError: see `rewinding_of`.
    """
    asked = rewinding_of(rewind)
    point = f"{asked.unit}:{asked.number}"
    if asked.form == WEIGHTS:
        return point
    return f"{asked.form}:{point}" if asked.number else asked.form


def rewinding_of(rewind: str) -> Rewinding:
    """The form of rewinding of a spelling.

    Example:
        >>> rewinding_of("epoch:2")
        Rewinding(form='weights', unit='epoch', number=2)

    Raises:
        ValueError: for an unknown spelling or a negative number.
    """
    found = _SPELLING.fullmatch(rewind) if isinstance(rewind, str) else None
    if found is None:
        raise ValueError(
            f"Expected rewind to be one of {', '.join(map(repr, SPELLINGS))}, with a step K of at least 0, or epoch:K. "
            f"Received: {shown(rewind)}."
        )
    form, pointed, unit, number = found.groups()
    return Rewinding(form) if form else Rewinding(pointed or WEIGHTS, unit, int(number))
