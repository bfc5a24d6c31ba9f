"""Names, units and meaning of the variables of a level, for files and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

SCHEMA_VERSION = 2  # of level files and run.h5; raised when readers of the old version would misread a file
ACCURACY_VERSION = 1  # of files whose metric is accuracy, which readers of the first version can read
READABLE = (ACCURACY_VERSION, SCHEMA_VERSION)


class NewerSchema(ValueError):
    """The file has a schema that this version of lth_keras does not know."""


class Meaning(NamedTuple):
    """A variable's description and unit ("1" for shares and counts without one)."""

    long_name: str
    units: str


class MetricName(NamedTuple):
    """A metric beside the loss.

    Attributes:
        name: an identifier, `M` in the names of variables (`test_M`).
        label: its name in texts and figures.
        direction: which is better, `higher` or `lower`; `both` if neither.
        units: "1" for shares, which are shown in percent.
    """

    name: str
    label: str
    direction: str = "higher"
    units: str = "1"


DIRECTIONS = ("higher", "lower", "both")
ACCURACY, MICRO_F1 = MetricName("accuracy", "accuracy"), MetricName("micro_f1", "micro-F1")
COMMENTS = {
    MICRO_F1.name: "multi-label: micro-F1, 2 TP / (2 TP + FP + FN) over all examples and classes, outputs above 0.5 "
    "(logits above 0) being predictions",
}


def scalar_meaning(metric: MetricName) -> dict[str, Meaning]:
    """The meaning of each scalar of a level."""
    name, label, _, units = metric
    return {
        "density": Meaning("share of prunable weights kept", "1"),
        "early_stop_step": Meaning("step of least validation loss", "step"),
        f"test_{name}_at_early_stop": Meaning(f"test {label} at the step of least validation loss", units),
        f"test_{name}_final": Meaning(f"test {label} after the last step", units),
        "seconds": Meaning("wall-clock time of training and evaluating the level", "s"),
        "peak_memory_bytes": Meaning("peak resident memory of the process so far", "byte"),
    }


def curve_meaning(metric: MetricName) -> dict[str, Meaning]:
    """The meaning of each curve of a level."""
    name, label, _, units = metric
    return {
        "train_loss": Meaning("training loss, mean over the batches since the step before", "1"),
        "validation_loss": Meaning("loss on the validation split", "1"),
        f"validation_{name}": Meaning(f"{label} on the validation split", units),
        "test_loss": Meaning("loss on the test split", "1"),
        f"test_{name}": Meaning(f"{label} on the test split", units),
    }


def scalars_of(metric: MetricName) -> tuple[str, ...]:
    """The names of the scalars of a level."""
    return tuple(scalar_meaning(metric))


def curves_of(metric: MetricName) -> tuple[str, ...]:
    """The names of the curves of a level."""
    return tuple(curve_meaning(metric))


def version_of(metric: MetricName) -> int:
    """The schema version of files with this metric."""
    return ACCURACY_VERSION if metric == ACCURACY else SCHEMA_VERSION


CONFUSION = "test_confusion"
COUNT_MEANING = {
    CONFUSION: Meaning("test examples of a class that were given another; -1 where not evaluated", "1"),
    "test_counts": Meaning("outcomes of a class on the test split; -1 where not evaluated", "1"),
}
COUNT_AXES = {CONFUSION: ("true", "predicted"), "test_counts": ("label", "outcome")}
OUTCOMES = ("true_positive", "false_positive", "false_negative")
COUNTS = tuple(COUNT_MEANING)

METRIC_MEANING = {
    "test_precision_macro": Meaning("precision on the test split, mean over classes", "1"),
    "test_recall_macro": Meaning("recall on the test split, mean over classes", "1"),
    "test_f1_macro": Meaning("F1 on the test split, mean over the classes' F1", "1"),
    "test_precision_micro": Meaning("precision on the test split over all examples", "1"),
    "test_recall_micro": Meaning("recall on the test split over all examples", "1"),
    "test_f1_micro": Meaning("F1 on the test split over all examples", "1"),
}
COORDINATE_MEANING = {
    "trial": Meaning("seed of the trial", "1"),
    "branch": Meaning("what is trained at a level", "1"),
    "other_branch": Meaning("the same, where branches are compared with each other", "1"),
    "level": Meaning("number of prunings before training", "1"),
    "step": Meaning("optimiser updates done when evaluated", "step"),
    "weight": Meaning("prunable weight, by its place inside the model", "1"),
    "true": Meaning("class of an example", "1"),
    "predicted": Meaning("class that an example was given", "1"),
    "label": Meaning("class, of which an example has any number", "1"),
    "outcome": Meaning("what an example and a prediction are to a class", "1"),
    "split": Meaning("part of the data", "1"),
    "length": Meaning("length of a document before any cut", "token"),
    "sign": Meaning("sign of the values that quantiles are of", "1"),
    "quantile": Meaning("share of the values of a sign that lie at or below", "1"),
    "criterion": Meaning("what scores the dense network as it is drawn", "1"),
    "other_criterion": Meaning("the same, where criteria are compared with each other", "1"),
}
SIZE_MEANING = Meaning("entries of the weight, kept or not", "1")
KIND_MEANING = Meaning("kind of the weight's layer, which pruning rates go by", "1")
DOCUMENTS_MEANING = Meaning("documents of a length", "1")
OVERLAP_MEANING = Meaning("Jaccard index of the mask with that of the winning ticket of the same trial and level", "1")
PAIRS_MEANING = Meaning("Jaccard index of the masks of two branches, of the same trial and level", "1")
DISTRIBUTION_MEANING = {
    "initial_weight_quantile": Meaning("quantiles of what the mask keeps of the weight, before training", "1"),
    "initial_weight_share": Meaning("share of a sign among what the mask keeps of the weight, before training", "1"),
    "final_weight_quantile": Meaning("quantiles of what the mask keeps of the weight, after the last step", "1"),
    "final_weight_share": Meaning("share of a sign among what the mask keeps of the weight, after the last step", "1"),
    "score_quantile": Meaning("quantiles of the scores of the weight's entries in the dense network as drawn", "1"),
    "score_share": Meaning("share of a sign among those scores; the others are zero", "1"),
    "score_correlation": Meaning("Spearman's rank correlation of two criteria's scores, over all weights", "1"),
}
WEIGHT_DENSITY_MEANING = Meaning("share of the weight's entries kept", "1")

NO_VALIDATION = "no validation split: the last step is taken for it"  # comment of what early stop decides

SCALARS = scalars_of(ACCURACY)
CURVES = curves_of(ACCURACY)

DENSE = "dense"  # the branch that level 0 is stored under: trained once, shared by all branches
BRANCH_ORDER = ("winning_ticket", "random_reinit", "random_mask")  # others follow, sorted

_DEFAULTS = (("direction", "higher"), ("units", "1"))


def metric_of_attributes(attributes: Mapping[Any, Any]) -> MetricName:
    """The metric that a file's attributes name; accuracy by default.

    Raises:
        ValueError: if they differ from what `metric_attributes` writes.
    """
    name = str(attributes.get("metric", ACCURACY.name))
    label = str(attributes.get("metric_label", name.replace("_", " ")))
    direction, units = (str(attributes.get(f"metric_{part}", default)) for part, default in _DEFAULTS)
    if not name.isidentifier() or direction not in DIRECTIONS:
        raise ValueError(f"metric {name!r} with direction {direction!r}")
    return MetricName(name, label, direction, units)
