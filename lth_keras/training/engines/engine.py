"""What an engine is: a way to train tickets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lth_keras.arrays import Weights
from lth_keras.mask import Mask
from lth_keras.training.loop import Curves, Hooks, NonFiniteLossError

if TYPE_CHECKING:
    from lth_keras.backends import Program
    from lth_keras.training.network import Network


class Ticket(NamedTuple):
    """What to train.

    Attributes:
        weights: all weights by key, pruned ones included; None for those that the network has, where the engine trains
            `in_place`.
        mask: which of the prunable ones take part; likewise.
        seed: with `names`, decides data order and dropout.
        names: name the random stream, e.g. the level.
        data: the key of its data set in `Network.datasets`.
        score_at: the step whose weights are kept for scoring, 0 for those of the start; None for the last.
        updates: what the optimiser's count of updates begins at.
    """

    weights: Weights | None
    mask: Mask | None
    seed: int
    names: tuple[str | int, ...]
    data: Hashable = None
    score_at: int | None = None
    updates: int = 0


class Schedule(NamedTuple):
    """How long tickets are trained, and what is counted.

    Attributes:
        steps: optimiser updates.
        patience: evaluations without a lower validation loss after which a training ends; None for never.
        confusion: whether to count outcomes by class at every test.
    """

    steps: int
    patience: int | None = None
    confusion: bool = False


class Callbacks(NamedTuple):
    """What is called during a training; none of it changes a number.

    Attributes:
        progress: called with (steps done, steps in all) about every half second.
        after: what to call when so many steps are done; 0 for before the first.
    """

    progress: Callable[[int, int], None] | None = None
    after: Hooks = {}


NO_CALLBACKS = Callbacks()


class Trained(NamedTuple):
    """What came of a ticket.

    Attributes:
        curves: what was measured.
        weights: the final weights by key, read when they are accessed: valid until the next is asked for.
        scored: the weights that a criterion is to score, these or earlier ones.
        test_metric_at_early_stop: with the weights of least validation loss.
        failure: why there is none of these, where the loss became NaN or infinite.
    """

    curves: Curves
    weights: Weights
    scored: Weights
    test_metric_at_early_stop: float
    failure: NonFiniteLossError | None = None


class Engine(Protocol):
    """A way to train tickets. A new engine is a file here and a line in `ENGINES`.

    Results of an engine are bit-identical whatever else it trains, in a batch or before.
    """

    @property
    def spelling(self) -> str:
        """How `engine=` and `--engine` name it, such as `native` or `batched:6`."""

    @property
    def width(self) -> int:
        """How many tickets it trains at once."""

    @property
    def in_place(self) -> bool:
        """Whether it trains the network's own variables."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What it adds to the identity of a run, JSON; empty where its numbers are the default's within rounding."""

    def refusal(self, network: Network, schedule: Schedule | None) -> str | None:
        """Why it cannot train tickets of the network in this way, as the sentence of an error; None where it can.

        Args:
            network: whose tickets.
            schedule: how they are to be trained; None where that is not known yet.
        """

    def program(self, network: Network) -> Program:
        """The program that evaluates the network as it is; made once."""

    def train(
        self, network: Network, tickets: Sequence[Ticket], schedule: Schedule, callbacks: Callbacks = NO_CALLBACKS
    ) -> Iterator[Trained]:
        """Trains tickets whose data sets the network has.

        Yields:
            What came of each, in order.
        """
