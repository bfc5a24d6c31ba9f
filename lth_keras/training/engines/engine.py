"""The engine protocol: an engine trains tickets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lth_keras.arrays import TrainingState, Weights
from lth_keras.mask import Mask
from lth_keras.training.loop import Curves, Hooks, NonFiniteLossError

if TYPE_CHECKING:
    from lth_keras.backends import OptimizerStart, Program
    from lth_keras.training.network import Network


class Ticket(NamedTuple):
    """A ticket to train: initial weights and a mask.

    Attributes:
        weights: all weights by key, including pruned ones; None for the network's current ones, if the engine trains
            `in_place`.
        mask: mask of the prunable weights; None as for `weights`.
        seed: with `names`, determines data order and dropout.
        names: further names of the random stream, e.g. the level.
        data: the key of its data set in `Network.datasets`.
        score_at: the step whose weights are kept for scoring, 0 for the initial ones; None for the last.
        updates: initial value of the optimiser's step count.
        start: the step that the training begins after; it makes the schedule's steps less these.
        optimizer: the optimiser's state at the beginning; None for a new one.
        state_at: the step whose weights and optimiser are kept as `Trained.state`, or the last step if a training ends
            earlier; None keeps none.
    """

    weights: Weights | None
    mask: Mask | None
    seed: int
    names: tuple[str | int, ...]
    data: Hashable = None
    score_at: int | None = None
    updates: int = 0
    start: int = 0
    optimizer: OptimizerStart | None = None
    state_at: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it trains from step 0 with a new optimiser, whose state is not kept."""
        return self.start == 0 and self.optimizer is None and self.state_at is None


class Schedule(NamedTuple):
    """Length of the training, and the counts to record.

    Attributes:
        steps: optimiser updates.
        patience: evaluations without a lower validation loss after which a training ends; None for never.
        confusion: whether to count outcomes by class at every test.
        whole: whether all tickets are `Ticket.is_whole`.
    """

    steps: int
    patience: int | None = None
    confusion: bool = False
    whole: bool = True

    def refusal_unless_whole(self, engine: str) -> str | None:
        """The error message of an engine that trains whole tickets only; None if there are no others."""
        if self.whole:
            return None
        return (
            "Expected rewind='init' or 'learning_rate' with an engine that cannot continue a training from the middle. "
            f"Received: engine={engine!r}. Use engine='compiled'."
        )


class Callbacks(NamedTuple):
    """Functions to call during a training; they do not affect results.

    Attributes:
        progress: called with (steps done, number of steps) about every half second.
        after: step -> function to call after it; 0 for before the first step.
    """

    progress: Callable[[int, int], None] | None = None
    after: Hooks = {}


NO_CALLBACKS = Callbacks()


class Trained(NamedTuple):
    """The result of training a ticket.

    Attributes:
        curves: the evaluations.
        weights: the final weights by key, read when accessed; valid until the next result is requested.
        scored: the weights for the criterion: the final ones or earlier ones.
        test_metric_at_early_stop: the metric on the test split at the least validation loss.
        state: the state at the ticket's `state_at`, or None.
        failure: the error if the loss became NaN or infinite; then the other attributes are void.
    """

    curves: Curves
    weights: Weights
    scored: Weights
    test_metric_at_early_stop: float
    failure: NonFiniteLossError | None = None
    state: TrainingState | None = None


class Engine(Protocol):
    """Trains tickets. A new engine is a file in this folder and a line in `ENGINES`.

    Results of an engine are bit-identical whatever else it trains, before or in the same batch.
    """

    @classmethod
    def of(cls, argument: str) -> Engine:
        """The engine of a spelling: `NAME` or `NAME:ARGUMENT`.

        Args:
            argument: what follows the colon; may be empty.

        Raises:
            ValueError: for an argument that it does not take.
        """

    @property
    def spelling(self) -> str:
        """Its name for `engine=` and `--engine`, such as `native` or `batched:6`."""

    @property
    def width(self) -> int:
        """The number of tickets that it trains at once."""

    @property
    def in_place(self) -> bool:
        """Whether it trains the network's own variables."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON that it adds to a run's identity; empty if its results equal the default engine's within rounding."""

    @property
    def streams(self) -> bool:
        """Whether it trains on streams as they are, which are read into arrays for others."""

    @property
    def takes_several(self) -> bool:
        """Whether it trains models with several inputs or outputs."""

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """The error message if it cannot train the network's tickets with this schedule, otherwise None.

        Args:
            network: the network.
            schedule: the schedule, or None if it is not known yet.
        """

    def program(self, network: Network) -> Program:
        """The program that evaluates the network's current weights; made once."""

    def train(
        self, network: Network, tickets: Sequence[Ticket], schedule: Schedule, callbacks: Callbacks = NO_CALLBACKS
    ) -> Iterator[Trained]:
        """Trains tickets whose data sets are loaded in the network.

        Yields:
            The result of each ticket, in order.
        """
