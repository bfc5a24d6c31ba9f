"""The updates that a dense optimiser makes to a row of a table while no batch uses it, in closed form.

Between two uses the gradient of a row is zero, but Adam and momentum continue to move it, by as much as the updates
with gradients. The sums over skipped steps depend only on the row's last step and the current one, so a few numbers per
row replace a pass over the table at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

TERMS = 4
"""Terms of the series in `SkippedAdam`."""
WORST_REMAINDER = 1e-4


class Skipped(Protocol):
    """The update rule of rows: for skipped steps and for steps with a gradient."""

    slots: int
    """The number of arrays of a row's size that the optimiser keeps."""
    moves_unused: bool
    """Whether it also changes rows that no batch has used yet."""

    def coefficients(self, last: np.ndarray, now: int) -> np.ndarray:
        """Coefficients of `catch_up` for rows from step `last` to after step `now`: float32 `(numbers, rows)`."""

    def catch_up(self, ops: Any, row: Any, slots: list[Any], coefficients: list[Any]) -> tuple[Any, list[Any]]:
        """The row and its slots after the skipped steps; `ops` is `keras.ops`."""

    def scalars(self, step: int) -> np.ndarray:
        """Scalars of `update` for a step, counted from 1: float32."""

    def update(self, ops: Any, row: Any, slots: list[Any], gradient: Any, scalars: Any) -> tuple[Any, list[Any]]:
        """The row and its slots after the Keras optimiser's step with this gradient."""


class _Decaying:
    """A rule with decoupled weight decay: `w` is multiplied by `1 - weight_decay * rate` at every step.

    Sums over skipped steps divide momentum's decay by it, so weights must decay more slowly than momentum.
    """

    def __init__(self, rates: np.ndarray, weight_decay: float, momentum: float) -> None:
        self._rates, self._factors = rates, 1 - weight_decay * rates
        self.moves_unused = weight_decay > 0
        if weight_decay and self._factors.min() <= momentum:
            raise ValueError(
                f"Expected weight_decay * learning_rate below {1 - momentum:.6g}, so that weights decay more slowly "
                f"than their momentum. Received: {weight_decay} * {rates.max()}. Train the embeddings densely."
            )
        self._logs = np.concatenate([[0.0], np.cumsum(np.log(self._factors))])

    def _between(self, last: np.ndarray, now: int) -> np.ndarray:
        """The product of the factors of steps `last` + 1 to `now`."""
        return np.exp(self._logs[now] - self._logs[last])

    def scalars(self, step: int) -> np.ndarray:
        """Decay of the weight, and the learning rate, with its bias correction if there is one."""
        return np.array([self._factors[step - 1], self._rates[step - 1]], np.float32)


class SkippedAdam(_Decaying):
    """Adam without a gradient, exact to float32 rounding.

    With m and v from step t, step t + j takes from the weight `c[t+j] beta1^j m / (q^j s + epsilon)`, where
    `q = sqrt(beta2)`, `s = sqrt(v)` and c is the learning rate with its bias correction (Kingma & Ba, 2015,
    arXiv:1412.6980, section 2). As `q^j s + epsilon = (s + epsilon) (1 - u d_j)` with `u = s / (s + epsilon)` in [0, 1)
    and `d_j = 1 - q^j`, the sum over j is `m / (s + epsilon)` times the series of `u^p sum_j c[t+j] beta1^j d_j^p`,
    p = 0, 1, ...: its sums are numbers of a row, and since d_j is small where beta1^j is not, few terms suffice,
    whether gradients are above or below epsilon.

    Args:
        rates: float64 `(steps,)`: the learning rate of every step.
        beta_1: decay of the first moment.
        beta_2: decay of the second.
        epsilon: see Keras' Adam.
        weight_decay: see Keras' optimisers; 0 for none.

    Raises:
        ValueError: if the series converges too slowly, or weights decay faster than momentum.
    """

    slots = 2

    def __init__(
        self, rates: np.ndarray, *, beta_1: float, beta_2: float, epsilon: float, weight_decay: float = 0.0
    ) -> None:
        q = math.sqrt(beta_2)
        self._check_remainder(beta_1, q)
        self._beta_1, self._beta_2, self._epsilon, self._q = beta_1, beta_2, epsilon, q
        step = np.arange(1, len(rates) + 1, dtype=np.float64)
        super().__init__(rates, weight_decay, beta_1)
        self._rates = rates * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        # _sums[p, t]: sum over j >= 1, up to the last step, of c[t+j] beta1^j d_j^p, each divided by the weight decay
        # of steps t+1 to t+j. Since d_(j+1) = (1 - q) + q d_j, each follows from the next. A row's skipped updates are
        # the difference of two such sums.
        self._sums = np.zeros((TERMS, len(rates) + 1))
        binomials = [[math.comb(p, i) * (1 - q) ** (p - i) * q**i for i in range(p + 1)] for p in range(TERMS)]
        for t in range(len(rates) - 1, -1, -1):
            after = self._sums[:, t + 1].copy()
            after[0] += self._rates[t]
            factor = beta_1 / self._factors[t]
            for p, row in enumerate(binomials):
                self._sums[p, t] = factor * sum(b * after[i] for i, b in enumerate(row))

    def coefficients(self, last: np.ndarray, now: int) -> np.ndarray:
        """Decay of the weight, the series' sums, and the decays of m and v."""
        steps = now - last
        first, second = self._beta_1**steps, self._beta_2**steps
        decay = self._between(last, now)
        q = self._q**steps
        sums = []
        for p in range(TERMS):
            rest = sum(math.comb(p, i) * (1 - q) ** (p - i) * q**i * self._sums[i, now] for i in range(p + 1))
            sums.append(decay * self._sums[p, last] - first * rest)
        return np.array([decay, *sums, first, second], np.float32)

    def catch_up(self, ops: Any, row: Any, slots: list[Any], coefficients: list[Any]) -> tuple[Any, list[Any]]:
        """As `Skipped.catch_up`; slots are m and v."""
        m, v = slots
        decay, *sums, first, second = coefficients
        root = ops.sqrt(v)
        inverse = 1 / (root + self._epsilon)
        u = root * inverse
        series = sums[-1]
        for term in reversed(sums[:-1]):
            series = term + u * series
        return row * decay - m * inverse * series, [m * first, v * second]

    def update(self, ops: Any, row: Any, slots: list[Any], gradient: Any, scalars: Any) -> tuple[Any, list[Any]]:
        """As Keras' Adam."""
        m, v = slots
        m = m + (gradient - m) * (1 - self._beta_1)
        v = v + (gradient * gradient - v) * (1 - self._beta_2)
        return row * scalars[0] - m * scalars[1] / (ops.sqrt(v) + self._epsilon), [m, v]

    @staticmethod
    def _check_remainder(beta_1: float, q: float) -> None:
        j = np.arange(1, 10_000)
        remainder = np.sum((beta_1 / q) ** j * (1 - q**j) ** TERMS) / np.sum(beta_1**j) if beta_1 > 0 else 0.0
        if not remainder < WORST_REMAINDER:
            raise ValueError(
                f"Expected beta_1 well below the square root of beta_2, so that skipped updates can be summed. "
                f"Received: beta_1={beta_1}, beta_2={q * q:.6g}, for which the sum has an error up to {remainder:.1g}. "
                "Train the embeddings densely."
            )


class SkippedMomentum(_Decaying):
    """SGD without a gradient, exact to float32 rounding: momentum decays geometrically and moves the weight.

    Args:
        rates: float64 `(steps,)`: the learning rate of every step.
        momentum: 0 for none.
        nesterov: see Keras' SGD.
        weight_decay: see Keras' optimisers; 0 for none.

    Raises:
        ValueError: if weights decay faster than momentum.
    """

    def __init__(
        self, rates: np.ndarray, *, momentum: float, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(rates, weight_decay, momentum)
        self.slots = 1 if momentum else 0
        self._momentum, self._nesterov = momentum, nesterov
        # _sums[t]: sum over j >= 1, up to the last step, of momentum^j, each divided by the weight decay of steps t+1
        # to t+j.
        self._sums = np.zeros(len(rates) + 1)
        for t in range(len(rates) - 1, -1, -1):
            self._sums[t] = momentum / self._factors[t] * (1 + self._sums[t + 1])

    def coefficients(self, last: np.ndarray, now: int) -> np.ndarray:
        """Decay of the weight, momentum's sum, and its decay."""
        power = self._momentum ** (now - last)
        decay = self._between(last, now)
        moved = decay * self._sums[last] - power * self._sums[now]
        return np.array([decay, moved * (self._momentum if self._nesterov else 1), power], np.float32)

    def catch_up(self, ops: Any, row: Any, slots: list[Any], coefficients: list[Any]) -> tuple[Any, list[Any]]:
        """As `Skipped.catch_up`; the slot is the momentum."""
        decay, moved, power = coefficients
        if not slots:
            return row * decay, []
        return row * decay + slots[0] * moved, [slots[0] * power]

    def update(self, ops: Any, row: Any, slots: list[Any], gradient: Any, scalars: Any) -> tuple[Any, list[Any]]:
        """As Keras' SGD."""
        row = row * scalars[0]
        if not slots:
            return row - gradient * scalars[1], []
        m = slots[0] * self._momentum - gradient * scalars[1]
        return row + (m * self._momentum - gradient * scalars[1] if self._nesterov else m), [m]


class Lazy:
    """The lazy variant of a rule: unused rows stay unchanged, as in most frameworks' sparse optimisers.

    It differs from the dense optimiser: rarely used rows move about half as far.
    """

    def __init__(self, rule: Skipped) -> None:
        self.slots, self.moves_unused = rule.slots, False
        self.catch_up, self.scalars, self.update = rule.catch_up, rule.scalars, rule.update
        self._rule = rule

    def coefficients(self, last: np.ndarray, now: int) -> np.ndarray:
        """The coefficients of zero steps."""
        return self._rule.coefficients(np.full_like(last, now), now)


def is_plain(optimizer: Any) -> bool:
    """Whether a Keras optimiser has no clipping, averages, loss scaling, gradient accumulation or AMSGrad."""
    return not (
        optimizer.clipnorm
        or optimizer.clipvalue
        or optimizer.global_clipnorm
        or optimizer.use_ema
        or optimizer.loss_scale_factor
        or optimizer.gradient_accumulation_steps
        or getattr(optimizer, "amsgrad", False)
    )


def skipped(optimizer: Any, variables: list[Any], *, lazy: bool = False) -> Callable[[int], Skipped] | None:
    """The rule of a Keras optimiser for rows of these variables; `lazy` leaves unused rows unchanged, see `Lazy`.

    Returns:
        (steps of the training) -> the rule; None if skipped updates have no closed form here: for optimisers other than
        Adam, AdamW and SGD, and with clipping, averages, AMSGrad or gradient accumulation.
    """
    name = type(optimizer).__name__
    if (
        not is_plain(optimizer)
        or not type(optimizer).__module__.startswith("keras.")
        or name not in ("Adam", "AdamW", "SGD")
    ):
        return None
    schedule = optimizer._learning_rate
    scheduled = isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    if callable(schedule) and not scheduled:  # a function that Keras calls at every step
        return None
    decayed = {optimizer._use_weight_decay(variable) for variable in variables} if optimizer.weight_decay else {False}
    if len(decayed) > 1:
        return None
    weight_decay = float(optimizer.weight_decay) if decayed == {True} else 0.0

    def rule(steps: int) -> Skipped:
        if scheduled:
            rates = np.array([float(schedule(step)) for step in range(steps)])
        else:
            rates = np.full(steps, float(optimizer.learning_rate))
        names = ("momentum", "nesterov") if name == "SGD" else ("beta_1", "beta_2", "epsilon")
        options = {name: getattr(optimizer, name) for name in names}
        exact = (SkippedMomentum if name == "SGD" else SkippedAdam)(rates, weight_decay=weight_decay, **options)
        return Lazy(exact) if lazy else exact

    return rule
