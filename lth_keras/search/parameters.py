"""The parameters of a search. Each is declared once, with its effect and its check.

Identity, checks, variants and the command line are derived from these declarations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

import keras

from lth_keras.arrays import Weights
from lth_keras.criteria import Criterion, State
from lth_keras.data import (
    SAMPLES_PER_CLASS,
    SPLITS,
    check_cadence,
    check_class_weight,
    check_loss_weights,
    read_streams,
)
from lth_keras.mask import Mask
from lth_keras.pruning import Plan, one_density, pattern_of
from lth_keras.search.observation import Observation
from lth_keras.search.rewinding import check_rewind
from lth_keras.system import values
from lth_keras.training.engines import AUTO, check_spelling

MASKS = "masks"
"""Affects masks, but not the training of the dense network."""
TRAINING = "training"
"""Affects the training or initial weights of tickets."""
RUN = "run"
"""Concerns the whole run, so that no variant can change it."""
ALWAYS, CHANGED, NEVER = "always", "changed", "never"
"""Whether a run's identity contains a parameter: always, if it is not the default, or never (or in another form)."""

Check = Callable[[str, Any], Any]
"""(name, value) -> the value as a Python type; raises ValueError for an invalid value."""


def parameter(default: Any = MISSING, *, affects: str, check: Check | None = None, identity: str = CHANGED) -> Any:
    """Declares a parameter as a dataclass field.

    Args:
        default: its default; without one the parameter is required.
        affects: `MASKS`, `TRAINING` or `RUN`.
        check: checks its value, except None where that is the default.
        identity: whether a run's identity contains it: `ALWAYS` (but not None), `CHANGED` or `NEVER`.
    """
    return field(default=default, metadata={"affects": affects, "check": check, "identity": identity})


def count(least: int = 1) -> Check:
    """A check of integers from `least`."""
    return lambda name, value: values.integer(name, value, least)


def one_of(*known: str) -> Check:
    """A check of names."""
    return lambda name, value: values.one_of(name, values.text(name, value), known)


def instance(kind: type[Any], expected: str) -> Check:
    """A check of a value's class."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"Expected {name} to be {expected}. Received: {values.shown(value)}.")
        return value

    return check


def _mask(name: str, value: Any) -> Mask:
    return Mask(instance(Mapping, "a mask, as lth_keras.get_mask returns it")(name, value))


def _densities(name: str, value: Any) -> tuple[float, ...]:
    return tuple(values.real("each density", one) for one in values.sequence(name, value, "numbers"))


def check_pattern(name: str, value: Any) -> str:
    """The usual spelling of a pattern: `units` for `filters` and `columns`.

    Raises:
        ValueError: for an unknown one.
    """
    return str(pattern_of(values.text(name, value)))


WHEN = ("after_training", "before_training")


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Parameters of pruning: how the masks of a search's levels are made.

    Args:
        rates: share of the remaining weights pruned per level, in [0, 1): one number, or by kind of layer,
            `{"dense": 0.2, "conv": 0.15, "embedding": 0.2, "output": 0.1}`, or also by names and patterns of layers;
            alternatively `densities`.
        densities: share of all prunable weights that each level keeps, from level 1 on.
        criterion: name or function that scores weights, or the name of a composite, `stacked(snip,synflow)`.
        scope: `layer` ranks weights within their layer, `global` across all layers; `uniform` and `erk` within layers
            whose densities they prescribe (see `densities`). All but `layer` take one rate.
        shots: number of pruning steps per level; each scores the weights that the one before kept.
        shot_schedule: the densities of the shots, `exponential` or `linear`.
        when: `after_training` makes each mask at the end of a level's training, from the level's mask.
            `before_training` makes the masks of all levels from the trial's initial weights, each independently: masks
            need not nest, levels do not depend on each other, and `next_mask` in a level file equals `mask`.
        score_at: the step of each training whose weights the criterion scores, 0 for the initial ones; by default the
            last. The training always has its full length.
        samples_per_class: training examples of each class for criteria that use gradients, drawn once per trial.
        min_per_layer: the least number of weights that each layer keeps. With 0 a layer can lose all its weights; a
            warning names it.
        cut_through: what to do if pruning disconnects inputs from outputs. `refuse` raises. `train` trains the
            remaining weights, such as biases; further masks are random, since no prunable weight affects the output.
        masks_of_drawn: whether masks made before training score the drawn weights if `start` makes other weights.
        exclude: names or places of layers that are not pruned and do not count in densities, patterns of them
            (`"block*"`), kinds of layers (`"embedding"`), `"first"` or `"last"`; one or several.
        prune_frozen: whether layers with `trainable=False` are pruned. By default they are not, and do not count in
            densities. Their weights are those that `build` makes, in all trials.
        pattern: groups of weights that are kept or pruned together, as `prune` takes them: `"units"`, `"filters"`,
            `"columns"`, `"heads"`, `"channels"`, blocks as `"4x4"`, or `"2:4"`. Rates and densities are then
            shares of each layer's groups in scope `layer`, and in scope `global` groups compete by their mean score;
            `min_per_layer` counts groups, of which at least one stays. Weights without groups stay as they are. `"N:M"`
            has one level, of density N / M, and neither rates nor densities. The control `random_mask` keeps as many
            groups. By default weights are pruned one by one.
        multiple_of: number to whose multiples the units, heads or channels that a layer keeps are rounded.
        start_mask: the mask of level 0, such as that of another model's ticket (`get_mask`), by the keys of this
            network's weights; `rates` are shares of the weights that it keeps. By default level 0 is dense.

    Example:
        >>> Pruning(rates={"dense": 0.2, "output": 0.1}, criterion="magnitude", scope="layer")
    """

    rates: float | Mapping[str, float] | None = parameter(None, affects=MASKS, check=values.rates, identity=ALWAYS)
    densities: Sequence[float] | None = parameter(None, affects=MASKS, check=_densities, identity=ALWAYS)
    criterion: str | Criterion = parameter("magnitude", affects=MASKS, identity=NEVER)
    scope: str = parameter("layer", affects=MASKS, check=values.text, identity=ALWAYS)
    shots: int = parameter(1, affects=MASKS, check=count())
    shot_schedule: str = parameter("exponential", affects=MASKS, check=values.text)
    when: str = parameter("after_training", affects=MASKS, check=one_of(*WHEN))
    score_at: int | None = parameter(None, affects=TRAINING, check=count(0), identity=ALWAYS)
    samples_per_class: int = parameter(SAMPLES_PER_CLASS, affects=MASKS, check=count())
    min_per_layer: int = parameter(1, affects=MASKS, check=count(0), identity=ALWAYS)
    cut_through: str = parameter("refuse", affects=MASKS, check=one_of("refuse", "train"))
    masks_of_drawn: bool = parameter(False, affects=TRAINING, check=values.boolean)
    exclude: str | Sequence[str] = parameter((), affects=TRAINING, check=values.texts)
    prune_frozen: bool = parameter(False, affects=TRAINING, check=values.boolean)
    pattern: str | None = parameter(None, affects=MASKS, check=check_pattern)
    multiple_of: int = parameter(1, affects=MASKS, check=count())
    start_mask: Mapping[str, Any] | None = parameter(None, affects=TRAINING, check=_mask, identity=NEVER)

    def __post_init__(self) -> None:
        check_values(self)
        if self.multiple_of != 1 and self.pattern is None:
            raise ValueError(f"Expected a pattern with multiple_of. Received: multiple_of={self.multiple_of} without.")

    @property
    def plan(self) -> Plan:
        """The densities of the levels.

        Raises:
            ValueError: see `Plan`.
        """
        pattern = None if self.pattern is None else pattern_of(self.pattern, self.multiple_of)
        only = one_density(pattern) if self.rates is None else None
        return Plan(
            self.rates,
            self.densities if self.densities is not None or only is None else (only,),
            self.scope,
            self.when == "before_training",
            self.shots,
            self.shot_schedule,
            self.min_per_layer,
            None if self.start_mask is None else Mask(self.start_mask),
            pattern,
        )


@dataclass(frozen=True, kw_only=True)
class Training:
    """Parameters of training: how each ticket is trained.

    Args:
        steps: optimiser updates per level; alternatively `epochs`.
        epochs: passes of floor(n / batch_size) full batches; alternatively `steps`.
        batch_size: examples per step.
        evaluate_every: steps between evaluations on the validation split.
        test_every: steps between evaluations on the test split, a multiple of `evaluate_every`; by default 10 times.
        patience: evaluations without a lower validation loss after which a training stops early; by default never.
        metric: a metric's name (`accuracy`, `micro_f1`, `mae`, `r2` or a Keras metric's), a Keras metric, or a
            function (y, outputs) -> a number for each example. None chooses by the loss and the outputs, see
            docs/results.md. Variables in run.h5 have the metric's name. For a model with several outputs
            `{output: metric}`, the name of the output to measure and its metric or None.
        confusion: whether to store a confusion matrix of every test, for labels that are class indices; for multi-label
            tasks (binary cross-entropy of several outputs) true positives, false positives and false negatives by
            class. Other tasks raise ValueError before anything is trained.
        jit_compile: whether to compile with XLA; None decides by the model (see `Network`).
        carry_step_count: whether the optimiser's step count, which Adam's bias correction and learning rate schedules
            use, continues from level to level. By default every level begins at 0.
        class_weight: weight of each class in the training loss, by its index, 1 for others, as in Keras' `fit`; needs
            one class for each example. Validation and test are not weighted.
        loss_weights: weights of the losses of several outputs, a list, a tuple or a dict by output, as in Keras'
            `compile`. Losses of training, validation and test are weighted sums; None weights each by 1.
        threads: threads per training; None uses the backend's default. Results with different numbers of threads are
            not bit-identical, so a run records the number and is resumed with it.
        data_memory: the most memory for arrays that are read from a `tf.data.Dataset` or another stream, in bytes or as
            `"2GB"`; None is a third of the free memory.

    Example:
        >>> Training(epochs=20, batch_size=60, evaluate_every=100)
    """

    steps: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS)
    epochs: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS)
    batch_size: int = parameter(60, affects=TRAINING, check=count(), identity=ALWAYS)
    evaluate_every: int = parameter(100, affects=TRAINING, check=count(), identity=ALWAYS)
    test_every: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS)
    patience: int | None = parameter(None, affects=TRAINING, check=count(), identity=ALWAYS)
    metric: Any = parameter(None, affects=TRAINING, identity=NEVER)
    confusion: bool = parameter(False, affects=TRAINING, check=values.boolean, identity=NEVER)
    jit_compile: bool | None = parameter(None, affects=TRAINING, check=values.boolean, identity=ALWAYS)
    carry_step_count: bool = parameter(False, affects=TRAINING, check=values.boolean)
    class_weight: Mapping[int, float] | None = parameter(None, affects=TRAINING, check=check_class_weight)
    loss_weights: Any = parameter(None, affects=TRAINING, check=check_loss_weights)
    threads: int | None = parameter(None, affects=RUN, check=count(), identity=NEVER)
    data_memory: int | str | None = parameter(None, affects=RUN, check=values.memory, identity=NEVER)

    def __post_init__(self) -> None:
        check_values(self)
        check_cadence(self.evaluate_every, self.test_every)
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"Expected steps or epochs. Received: steps={self.steps}, epochs={self.epochs}.")

    def arrays_of(self, data: Any) -> Any:
        """A trial's data with all streams read into arrays; see `lth_keras.data.read_streams`."""
        most = self.data_memory
        return read_streams(data, SPLITS, None if most is None else values.memory("data_memory", most))

    def steps_of(self, per_epoch: int | None) -> int:
        """Optimiser updates of a level with so many batches in one pass over the data, which `steps` does not need."""
        return self.steps if self.steps is not None else (self.epochs or 0) * (per_epoch or 0)


@dataclass(init=False, repr=False, eq=False)
class SearchParameters:
    """The parameters of a `TicketSearch`, which documents them."""

    build: Callable[[], keras.Model] = parameter(affects=TRAINING, identity=NEVER)
    data: Any = parameter(affects=TRAINING, identity=NEVER)
    optimizer: Callable[[], keras.Optimizer] = parameter(affects=TRAINING, identity=NEVER)
    loss: Any = parameter(affects=TRAINING, identity=NEVER)
    levels: int = parameter(None, affects=RUN, check=count(0), identity=NEVER)
    pruning: Pruning = field(default=None)  # type: ignore[assignment]  # set by with_shorthands
    training: Training = field(default=None)  # type: ignore[assignment]
    rewind: str = parameter("init", affects=TRAINING, check=lambda name, value: check_rewind(value), identity=ALWAYS)
    start: str | Callable[[State], Weights] | None = parameter(None, affects=TRAINING, identity=NEVER)
    engine: str = parameter(AUTO, affects=TRAINING, check=lambda name, value: check_spelling(value), identity=NEVER)
    seed: int = parameter(0, affects=RUN, check=count(0), identity=ALWAYS)
    name: str = parameter("search", affects=RUN, check=values.text, identity=NEVER)
    config: Mapping[str, Any] | None = parameter(
        None, affects=RUN, check=instance(Mapping, "a dict of JSON values"), identity=NEVER
    )
    variants: Mapping[str, Mapping[str, Any]] = parameter(None, affects=RUN, identity=NEVER)
    observe: Observation = parameter(
        Observation(), affects=RUN, check=instance(Observation, "an Observation"), identity=NEVER
    )


GROUPS: dict[str, type[Any]] = {"pruning": Pruning, "training": Training}
"""The groups of parameters, by the name of the search's parameter."""
SHORTHANDS = ("rates", "densities", "criterion", "steps", "epochs", "batch_size")
"""Parameters of groups that a search also takes directly."""


def declared(kind: type[Any]) -> dict[str, Field[Any]]:
    """The parameters that a group or a search declares, by name."""
    return {item.name: item for item in fields(kind) if "affects" in item.metadata}


PARAMETERS = declared(SearchParameters) | declared(Pruning) | declared(Training)
"""The declarations of all parameters of a search and its groups, by name."""
HOMES = {name: group for group, kind in GROUPS.items() for name in declared(kind)}
"""The group of each parameter in a group."""


def check_values(owner: Any) -> None:
    """Checks each declared parameter of a group or a search and converts it to a Python type.

    Raises:
        ValueError: for values of another type or out of range.
    """
    for name, item in declared(type(owner)).items():
        check, value = item.metadata["check"], getattr(owner, name)
        if check is not None and (value is not None or item.default is not None):
            object.__setattr__(owner, name, check(name, value))


def affecting(*effects: str) -> set[str]:
    """The parameters with one of these effects: `MASKS`, `TRAINING` or `RUN`."""
    return {name for name, item in PARAMETERS.items() if item.metadata["affects"] in effects}


def hashed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a run's identity contains unchanged."""
    found = {}
    for name, item in PARAMETERS.items():
        identity, value = item.metadata["identity"], parameters[name]
        if (identity == ALWAYS and value is not None) or (identity == CHANGED and value != item.default):
            found[name] = value
    return found


def grouped(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Collects parameters of groups into `Pruning` and `Training`, as arguments of a `TicketSearch`.

    Args:
        parameters: parameters of groups and of the search itself, by name.

    Example:
        >>> TicketSearch(**grouped({"build": build, ..., "rates": 0.2, "steps": 1000, "evaluate_every": 50}))
    """
    found = {name: value for name, value in parameters.items() if name not in HOMES}
    for group, kind in GROUPS.items():
        own = {name: parameters[name] for name in declared(kind) if name in parameters}
        found.setdefault(group, kind(**own))
    return found


def with_shorthands(groups: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of a search, made from parameters that are given directly where needed.

    Args:
        groups: the arguments `pruning` and `training`; None if not given.
        others: further arguments: those of `SHORTHANDS`, and parameters of version 0.1, which had no groups.

    Raises:
        TypeError: for an unknown argument.
        ValueError: if both a group and one of its parameters are given.
    """
    unknown = [name for name in others if name not in HOMES]
    if unknown:
        raise TypeError(f"Expected parameters of a TicketSearch. Received: {', '.join(unknown)}.")
    given: dict[str, Any] = {}
    for group, kind in GROUPS.items():
        own = {name: value for name, value in others.items() if HOMES[name] == group}
        if groups[group] is None:
            given[group] = kind(**own)
        else:
            given[group] = instance(kind, f"a {kind.__name__}")(group, groups[group])
            if own:
                raise ValueError(f"Expected {group}= or {'=, '.join(own)}=, not both. Received: both.")
        for name in own.keys() - {*SHORTHANDS}:
            warnings.warn(
                f"TicketSearch({name}=...) is now TicketSearch({group}={kind.__name__}({name}=...)).",
                DeprecationWarning,
                stacklevel=4,
            )
    return given
