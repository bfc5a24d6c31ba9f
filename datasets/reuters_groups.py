"""The usual groups of categories of Reuters-21578, and labels by category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datasets.splits import Splits


class Size(NamedTuple):
    """Size of a group of categories in the ModApte split."""

    classes: int
    train: int
    test: int


SIZES = {"R(10)": Size(10, 6_490, 2_545), "R(90)": Size(90, 7_770, 3_019), "R(115)": Size(115, 7_775, 3_019)}
"""Published sizes of the groups (Debole & Sebastiani, 2005)."""
GROUPS = tuple(SIZES)
ALL_DOCUMENTS = {"train": 9_603, "test": 3_299}
"""Number of documents, including those without a category."""


def check_group(group: str) -> str:
    """Return the name of a group in `GROUPS`; "R90" is "R(90)".

    Raises:
        ValueError: if there is no such group.
    """
    names = {name.replace("(", "").replace(")", ""): name for name in GROUPS}
    if group not in GROUPS and group not in names:
        given = " or ".join(f"{short!r} ({name})" for short, name in names.items())
        raise ValueError(f"Reuters-21578: Expected the group of categories {given}. Received: {group!r}.")
    return names.get(group, group)


def check_classes(splits: Splits, group: str, classes: int) -> Splits:
    """Return the documents of a group.

    Raises:
        ValueError: if they have another number of categories.
    """
    if len(splits.classes) != classes:
        raise ValueError(
            f"Expected the {classes} categories of {group}. Received: {len(splits.classes)} in "
            f"{splits.provenance['read_from']}, which is another Reuters than Distribution 1.0."
        )
    return splits


def topics_by_category(topics: Sequence[Sequence[str]], categories: Sequence[str]) -> np.ndarray:
    """Return the labels of documents by category.

    Args:
        topics: the categories of each document.
        categories: all of them.

    Returns:
        Shape (documents, categories), uint8: 1 or 0.
    """
    place = {category: number for number, category in enumerate(categories)}
    found = np.zeros((len(topics), len(categories)), np.uint8)
    for row, document in zip(found, topics, strict=True):
        row[[place[topic] for topic in document]] = 1
    return found


def group_places(group: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the indices of a group's categories among all, in their order.

    R(10) are the ten with the most training documents (of equals those that come first), R(90) those with a training
    and a test document, R(115) those with a training document.

    Args:
        group: of `GROUPS`.
        train: of all documents of ModApte's training split, as `topics_by_category`.
        test: of all documents of its test split.

    Source: "An analysis of the relative hardness of Reuters-21578 subsets", Debole & Sebastiani, JASIST 2005.
    """
    in_train, in_test = train.sum(axis=0, dtype=np.int64), test.sum(axis=0, dtype=np.int64)
    if group == "R(10)":
        most = np.argsort(-in_train, kind="stable")[:10]
        return np.sort(most[in_train[most] > 0])
    return np.flatnonzero((in_train > 0) & ((in_test > 0) | (group == "R(115)")))
