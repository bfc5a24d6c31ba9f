"""The parameters of a search: each is declared once, with what it affects and how it is checked.

Identity, checks, variants and the command line are derived from these declarations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache, partial
from typing import Any

import keras

from lth_keras.arrays import Weights
from lth_keras.criteria import Criterion, State
from lth_keras.data.sampling import SAMPLES_PER_CLASS
from lth_keras.data.splits import check_cadence
from lth_keras.masking.rewinding import check_rewind
from lth_keras.pruning.plan import Plan
from lth_keras.search.observation import Observation
from lth_keras.system import values
from lth_keras.training.engines import AUTO, check_spelling

MASKS = "masks"
"""Affects masks, and nothing of the dense network's training."""
TRAINING = "training"
"""Affects how tickets are trained, or what they start from."""
RUN = "run"
"""Is of the whole run: no variant can change it."""
ALWAYS, CHANGED, NEVER = "always", "changed", "never"
"""Whether a run's identity has a parameter: always, where it is not the default, or never (or in a form of its own)."""

Check = Callable[[str, Any], Any]
"""(name, value) -> the value as Python's own type; ValueError for one that it cannot be."""


def parameter(
    default: Any = MISSING,
    *,
    affects: str,
    check: Check | None = None,
    identity: str = CHANGED,
    optional: bool = False,
    named: str | None = None,
) -> Any:
    """Declares a parameter; a field of a dataclass.

    Args:
        default: its default; none where it must be given.
        affects: `MASKS`, `TRAINING` or `RUN`.
        check: checks its value.
        identity: whether the identity of a run has it: `ALWAYS`, `CHANGED` or `NEVER`.
        optional: whether it may be None, which no identity has.
        named: its name in identities, where that is another one.
    """
    told = {"affects": affects, "check": check, "identity": identity, "optional": optional, "named": named}
    return field(default=default, metadata=told)


def count(least: int = 1) -> Check:
    """A check of integers from `least`."""
    return partial(_count, least)


def _count(least: int, name: str, value: Any) -> int:
    return values.integer(name, value, least)


def one_of(*known: str) -> Check:
    """A check of names."""
    return partial(_one_of, known)


def _one_of(known: Sequence[str], name: str, value: Any) -> str:
    if values.text(name, value) not in known:
        raise ValueError(f"Expected {name} to be one of {known}. Received: {value!r}.")
    return str(value)


def _densities(name: str, value: Any) -> tuple[float, ...]:
    return tuple(values.real("each density", one) for one in values.sequence(name, value, "numbers"))


WHEN = ("after_training", "before_training")


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How the masks of a search's levels are made.

    Args:
        rates: share of the remaining weights pruned per level, in [0, 1): one number, or by kind of layer,
            `{"dense": 0.2, "conv": 0.15, "embedding": 0.2, "output": 0.1}`; or give `densities`.
        densities: share of all prunable weights that each level keeps, from level 1 on.
        criterion: name or function that scores weights, or a composite by name, `stacked(snip,synflow)`.
        scope: `layer` ranks weights within their layer, `global` across all layers; `uniform` and `erk` within layers
            whose densities they prescribe (see `densities`). All but `layer` take one rate.
        shots: to prune a level in, each of which scores what the one before has left.
        shot_schedule: the densities of the shots, `exponential` or `linear`.
        when: `after_training` makes each mask at the end of a level's training, from the mask before.
            `before_training` makes every level's from the weights that the trial starts from, each for itself: they
            need not nest, no level waits for another, and `next_mask` in a level file equals `mask`.
        score_at: the step of each training whose weights the criterion scores, 0 for those it starts from; by default
            the last. The training goes on to its end either way.
        samples_per_class: training examples of each class that criteria which take gradients look at, drawn once for
            each trial.
        min_per_layer: weights that every layer keeps at least. 0 lets a layer collapse, with a warning that names it.
        cut_through: what happens to a network whose output no weight reaches any more. `refuse` raises. `train`
            trains what is left, the biases behind the cut; its further masks are drawn at random, as no weight affects
            the output.
        masks_of_drawn: whether masks made before training are of the drawn weights, where `start` makes others.
        prune_frozen: whether layers with `trainable=False` are pruned. By default they are not, and do not count in
            densities. Their weights are those that `build` makes, in all trials.

    Example:
        >>> Pruning(rates={"dense": 0.2, "output": 0.1}, criterion="magnitude", scope="layer")
    """

    rates: float | Mapping[str, float] | None = parameter(
        None, affects=MASKS, check=values.rates, identity=ALWAYS, optional=True
    )
    densities: Sequence[float] | None = parameter(None, affects=MASKS, check=_densities, identity=ALWAYS, optional=True)
    criterion: str | Criterion = parameter("magnitude", affects=MASKS, identity=NEVER)
    scope: str = parameter("layer", affects=MASKS, check=values.text, identity=ALWAYS)
    shots: int = parameter(1, affects=MASKS, check=count())
    shot_schedule: str = parameter("exponential", affects=MASKS, check=values.text)
    when: str = parameter("after_training", affects=MASKS, check=one_of(*WHEN), named="schedule")
    score_at: int | None = parameter(None, affects=TRAINING, check=count(0), identity=ALWAYS, optional=True)
    samples_per_class: int = parameter(SAMPLES_PER_CLASS, affects=MASKS, check=count())
    min_per_layer: int = parameter(1, affects=MASKS, check=count(0), identity=ALWAYS)
    cut_through: str = parameter("refuse", affects=MASKS, check=one_of("refuse", "train"))
    masks_of_drawn: bool = parameter(False, affects=TRAINING, check=values.boolean)
    prune_frozen: bool = parameter(False, affects=TRAINING, check=values.boolean)

    def __post_init__(self) -> None:
        check_values(self)

    @property
    def plan(self) -> Plan:
        """The densities of the levels.

        Raises:
            ValueError: as `Plan`.
        """
        return Plan(
            self.rates,
            self.densities,
            self.scope,
            self.when == "before_training",
            self.shots,
            self.shot_schedule,
            self.min_per_layer,
        )


@dataclass(frozen=True, kw_only=True)
class Training:
    """How each ticket is trained.

    Args:
        steps: optimiser updates per level; or give `epochs`.
        epochs: passes of floor(n / batch_size) full batches; or give `steps`.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; by default 10 times.
        patience: evaluations without a lower validation loss after which a training ends, before its steps are over; by
            default none, every training has its full length.
        metric: what is measured beside the loss, by name (`accuracy`, `micro_f1`, `mae`, `r2` or a Keras metric's), a
            Keras metric or a function (y, outputs) -> a number for each example. None goes by the loss and the outputs,
            see docs/results.md. Its name is that of the variables in run.h5.
        confusion: whether to keep a confusion matrix of every test, for labels that are class indices; for multi-label
            tasks (binary cross-entropy of several outputs) true and false positives and false negatives by class. Where
            nothing is classified, or every position of an example, it is refused before anything is trained.
        jit_compile: whether to compile with XLA; None decides by the model (see `Network`).
        carry_step_count: whether the optimiser's count of updates goes on from level to level, as where one optimiser
            lives through the whole search: Adam's bias correction and schedules of the learning rate go by it. By
            default every level begins at 0.
        threads: threads per training; None leaves the backend's own number. Other threads give other bits, so a run
            records them and is resumed with the same.

    Example:
        >>> Training(epochs=20, batch_size=60, evaluate_every=100)
    """

    steps: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS, optional=True)
    epochs: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS, optional=True)
    batch_size: int = parameter(60, affects=TRAINING, check=count(), identity=ALWAYS)
    evaluate_every: int = parameter(100, affects=TRAINING, check=count(), identity=ALWAYS)
    test_every: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS, optional=True)
    patience: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS, optional=True)
    metric: Any = parameter(None, affects=TRAINING, identity=NEVER)
    confusion: bool = parameter(False, affects=TRAINING, check=values.boolean, identity=NEVER)
    jit_compile: bool | None = parameter(None, affects=TRAINING, check=values.boolean, identity=ALWAYS, optional=True)
    carry_step_count: bool = parameter(False, affects=TRAINING, check=values.boolean)
    threads: int | None = parameter(None, affects=RUN, check=count(), identity=NEVER, optional=True)

    def __post_init__(self) -> None:
        check_values(self)
        check_cadence(self.evaluate_every, self.test_every)
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"Expected steps or epochs. Received: steps={self.steps}, epochs={self.epochs}.")

    def steps_of(self, examples: int) -> int:
        """Optimiser updates of a level, on so many training examples."""
        return self.steps if self.steps is not None else (self.epochs or 0) * (examples // self.batch_size)


def _engine(name: str, value: Any) -> str:
    return check_spelling(value)


def _rewind(name: str, value: Any) -> str:
    return check_rewind(value)


def _config(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"Expected config to be a dict of JSON values. Received: {values.shown(value)}.")
    return value


def _observation(name: str, value: Any) -> Observation:
    if not isinstance(value, Observation):
        raise ValueError(f"Expected observe to be an Observation. Received: {values.shown(value)}.")
    return value


@dataclass(init=False, repr=False, eq=False)
class SearchParameters:
    """The parameters of a `TicketSearch`, which documents them."""

    build: Callable[[], keras.Model] = parameter(affects=TRAINING, identity=NEVER)
    data: Any = parameter(affects=TRAINING, identity=NEVER)
    optimizer: Callable[[], keras.Optimizer] = parameter(affects=TRAINING, identity=NEVER)
    loss: Any = parameter(affects=TRAINING, identity=NEVER)
    levels: int = parameter(None, affects=RUN, check=count(0), identity=NEVER, optional=True)
    pruning: Pruning = field(default=None)  # type: ignore[assignment]  # made of what is given
    training: Training = field(default=None)  # type: ignore[assignment]
    rewind: str = parameter("init", affects=TRAINING, check=_rewind, identity=ALWAYS)
    start: str | Callable[[State], Weights] | None = parameter(None, affects=TRAINING, identity=NEVER, optional=True)
    engine: str = parameter(AUTO, affects=TRAINING, check=_engine, identity=NEVER)
    seed: int = parameter(0, affects=RUN, check=count(0), identity=ALWAYS)
    name: str = parameter("search", affects=RUN, check=values.text, identity=NEVER)
    config: Mapping[str, Any] | None = parameter(None, affects=RUN, check=_config, identity=NEVER, optional=True)
    variants: Mapping[str, Mapping[str, Any]] = parameter(None, affects=RUN, identity=NEVER)
    observe: Observation = parameter(Observation(), affects=RUN, check=_observation, identity=NEVER)


GROUPS: dict[str, type[Any]] = {"pruning": Pruning, "training": Training}
"""The groups of parameters, by the parameter that takes one."""
KINDS: tuple[type[Any], ...] = (SearchParameters, Pruning, Training)
SHORTHANDS = ("rates", "densities", "criterion", "steps", "epochs", "batch_size")
"""Parameters of groups that a search also takes directly."""


def check_values(owner: Any) -> None:
    """Checks the declared parameters of a group or a search, one by one, and puts Python's own types in their place.

    Raises:
        ValueError: for values of another type or out of range.
    """
    for item in declared(type(owner)).values():
        check, value = item.metadata["check"], getattr(owner, item.name)
        if check is not None and (value is not None or not item.metadata["optional"]):
            object.__setattr__(owner, item.name, check(item.name, value))


def declared(kind: type[Any]) -> dict[str, Field[Any]]:
    """The parameters that a group or a search declares, by name."""
    return {item.name: item for item in fields(kind) if "affects" in item.metadata}


@cache
def homes() -> dict[str, str]:
    """The group of each parameter that is in one."""
    return {name: group for group, kind in GROUPS.items() for name in declared(kind)}


def affected() -> dict[str, str]:
    """What each parameter affects, those of a search itself and those of its groups."""
    return {name: item.metadata["affects"] for kind in KINDS for name, item in declared(kind).items()}


def hashed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that are in a run's identity as they are, by the names that they have there."""
    found = {}
    for kind in KINDS:
        for name, item in declared(kind).items():
            told, value = item.metadata, parameters[name]
            always = told["identity"] == ALWAYS and value is not None
            if always or (told["identity"] == CHANGED and value != item.default):
                found[told["named"] or name] = value
    return found


def grouped(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a `TicketSearch` of parameters that are each given by its own name.

    Args:
        parameters: name to value; those of groups, and others as they are.

    Example:
        >>> TicketSearch(**grouped({"build": build, ..., "rates": 0.2, "steps": 1000, "evaluate_every": 50}))
    """
    found = {name: value for name, value in parameters.items() if name not in homes()}
    for group, kind in GROUPS.items():
        own = {name: parameters[name] for name in declared(kind) if name in parameters}
        found.setdefault(group, kind(**own))
    return found


def flat(group: Any) -> dict[str, Any]:
    """The parameters of a group by name."""
    return {name: getattr(group, name) for name in declared(type(group))}


def with_shorthands(groups: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of a search that is given some of their parameters directly.

    Args:
        groups: `pruning` and `training` as they are given; None for not.
        others: further arguments, those of `SHORTHANDS` and all that were parameters before there were groups.

    Raises:
        TypeError: for an unknown argument.
        ValueError: where a group and one of its parameters are given.
    """
    unknown = [name for name in others if name not in homes()]
    if unknown:
        raise TypeError(f"Expected parameters of a TicketSearch. Received: {', '.join(unknown)}.")
    given: dict[str, Any] = {}
    for group, kind in GROUPS.items():
        own = {name: value for name, value in others.items() if homes()[name] == group}
        if groups[group] is None:
            given[group] = kind(**own)
        elif not isinstance(groups[group], kind):
            raise ValueError(f"Expected {group} to be a {kind.__name__}. Received: {values.shown(groups[group])}.")
        elif own:
            raise ValueError(f"Expected {group}= or {'=, '.join(own)}=, not both. Received: both.")
        else:
            given[group] = groups[group]
        for name in own.keys() - {*SHORTHANDS}:
            warnings.warn(
                f"TicketSearch({name}=...) is now TicketSearch({group}={kind.__name__}({name}=...)).",
                DeprecationWarning,
                stacklevel=4,
            )
    return given
