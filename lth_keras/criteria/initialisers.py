"""Initial weights computed from a criterion's scores of the drawn ones, by name: `scores_as_weights(snip)`."""

from __future__ import annotations

from collections.abc import Callable

from lth_keras.criteria.as_weights import bimodal, scores_as_weights
from lth_keras.criteria.names import criteria_and_scale, criterion, parse_call
from lth_keras.criteria.state import Criterion, State, Weights

INITIALISERS: dict[str, Callable[[Criterion, State, str], Weights]] = {
    "scores_as_weights": scores_as_weights,
    "bimodal": bimodal,
}


class Initialiser:
    """Computes initial weights from a state with the drawn ones.

    Args:
        name: `NAME(CRITERION)` or `NAME(CRITERION,SCALE)`, with a name of `INITIALISERS` and a criterion by name, a
            composite too.

    Raises:
        ValueError: for what cannot be read, or unknown names.

    Example:
        >>> weights = Initialiser("scores_as_weights(snip)")(state)
    """

    def __init__(self, name: str) -> None:
        kind, arguments = parse_call(name)
        if kind not in INITIALISERS:
            raise ValueError(
                f"Expected initialise to be one of {', '.join(f'{known}(CRITERION)' for known in INITIALISERS)}. "
                f"Received: {name!r}."
            )
        (part,), self._scale = criteria_and_scale(name, arguments, 1)
        self._make, self.parts = INITIALISERS[kind], (criterion(part),)

    def __call__(self, state: State) -> Weights:
        """All weights of the state, the prunable ones replaced."""
        return self._make(self.parts[0], state, self._scale)
