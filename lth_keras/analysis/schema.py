"""Names, units and meaning of the variables of a level, for files and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

SCHEMA_VERSION = 2  # of level files and run.h5; raised when readers of the old version would misread a file
ACCURACY_VERSION = 1  # of files whose metric is accuracy, which readers of the first version can read
READABLE = (ACCURACY_VERSION, SCHEMA_VERSION)


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


def _meaning(long_name: str, units: str = "1") -> dict[str, str]:
    """A variable's attributes: its description and its unit, "1" for shares and counts without one."""
    return {"long_name": long_name, "units": units}


def scalars_of(metric: MetricName) -> dict[str, dict[str, str]]:
    """The names of the scalars of a level, with their meaning."""
    name, label, _, units = metric
    return {
        "density": _meaning("share of prunable weights kept"),
        "early_stop_step": _meaning("step of least validation loss", "step"),
        f"test_{name}_at_early_stop": _meaning(f"test {label} at the step of least validation loss", units),
        f"test_{name}_final": _meaning(f"test {label} after the last step", units),
        "seconds": _meaning("wall-clock time of training and evaluating the level", "s"),
        "peak_memory_bytes": _meaning("peak resident memory of the process so far", "byte"),
    }


def curves_of(metric: MetricName) -> dict[str, dict[str, str]]:
    """The names of the curves of a level, with their meaning."""
    name, label, _, units = metric
    return {
        "train_loss": _meaning("training loss, mean over the batches since the step before"),
        "validation_loss": _meaning("loss on the validation split"),
        f"validation_{name}": _meaning(f"{label} on the validation split", units),
        "test_loss": _meaning("loss on the test split"),
        f"test_{name}": _meaning(f"{label} on the test split", units),
    }


def version_of(metric: MetricName) -> int:
    """The schema version of files with this metric."""
    return ACCURACY_VERSION if metric == ACCURACY else SCHEMA_VERSION


CONFUSION = "test_confusion"
COUNT_AXES = {CONFUSION: ("true", "predicted"), "test_counts": ("label", "outcome")}
OUTCOMES = ("true_positive", "false_positive", "false_negative")
COUNTS = tuple(COUNT_AXES)

MEANING = {
    name: _meaning(long_name)
    for name, long_name in {
        "weight_density": "share of the weight's entries kept",
        CONFUSION: "test examples of a class that were given another; -1 where not evaluated",
        "test_counts": "outcomes of a class on the test split; -1 where not evaluated",
        "test_precision_macro": "precision on the test split, mean over classes",
        "test_recall_macro": "recall on the test split, mean over classes",
        "test_f1_macro": "F1 on the test split, mean over the classes' F1",
        "test_precision_micro": "precision on the test split over all examples",
        "test_recall_micro": "recall on the test split over all examples",
        "test_f1_micro": "F1 on the test split over all examples",
        "documents": "documents of a length",
        "mask_overlap": "Jaccard index of the mask with that of the winning ticket of the same trial and level",
        "mask_overlap_pairs": "Jaccard index of the masks of two branches, of the same trial and level",
        "initial_weight_quantile": "quantiles of what the mask keeps of the weight, before training",
        "initial_weight_share": "share of a sign among what the mask keeps of the weight, before training",
        "final_weight_quantile": "quantiles of what the mask keeps of the weight, after the last step",
        "final_weight_share": "share of a sign among what the mask keeps of the weight, after the last step",
        "score_quantile": "quantiles of the scores of the weight's entries in the dense network as drawn",
        "score_share": "share of a sign among those scores; the others are zero",
        "score_correlation": "Spearman's rank correlation of two criteria's scores, over all weights",
        "trial": "seed of the trial",
        "branch": "what is trained at a level",
        "other_branch": "the same, where branches are compared with each other",
        "level": "number of prunings before training",
        "weight": "prunable weight, by its place inside the model",
        "size": "entries of the weight, kept or not",
        "kind": "kind of the weight's layer, which pruning rates go by",
        "true": "class of an example",
        "predicted": "class that an example was given",
        "label": "class, of which an example has any number",
        "outcome": "what an example and a prediction are to a class",
        "split": "part of the data",
        "sign": "sign of the values that quantiles are of",
        "quantile": "share of the values of a sign that lie at or below",
        "criterion": "what scores the dense network as it is drawn",
        "other_criterion": "the same, where criteria are compared with each other",
    }.items()
} | {
    "step": _meaning("optimiser updates done when evaluated", "step"),
    "length": _meaning("length of a document before any cut", "token"),
}
"""The attributes of variables and coordinates that are the same for every metric."""

NO_VALIDATION = "no validation split: the last step is taken for it"  # comment of what early stop decides

SCALARS, CURVES = tuple(scalars_of(ACCURACY)), tuple(curves_of(ACCURACY))

DENSE = "dense"  # the branch that level 0 is stored under: trained once, shared by all branches
BRANCH_ORDER = ("winning_ticket", "random_reinit", "random_mask")  # others follow, sorted


def metric_attributes(metric: MetricName) -> dict[str, str]:
    """The attributes that describe a metric in a file."""
    return dict(zip(("metric", "metric_label", "metric_direction", "metric_units"), metric, strict=True))


def metric_of_attributes(attributes: Mapping[Any, Any]) -> MetricName:
    """The metric that a file's attributes name; accuracy by default.

    Raises:
        ValueError: if they differ from what `metric_attributes` writes.
    """
    name = str(attributes.get("metric", ACCURACY.name))
    label = str(attributes.get("metric_label", name.replace("_", " ")))
    direction = str(attributes.get("metric_direction", ACCURACY.direction))
    if not name.isidentifier() or direction not in DIRECTIONS:
        raise ValueError(f"metric {name!r} with direction {direction!r}")
    return MetricName(name, label, direction, str(attributes.get("metric_units", ACCURACY.units)))
