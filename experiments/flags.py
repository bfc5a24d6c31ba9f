"""Types of command-line flags that experiments share."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro

BranchName = Literal["winning_ticket", "random_reinit", "random_mask"]


def checked_criterion(name: str) -> str:
    """The name of a criterion or composite, checked.

    Raises:
        ValueError: for an unknown name.
    """
    from lth_keras.criteria import criterion

    criterion(name)
    return name


CriterionName = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME|stacked(NAME,NAME)",
        instance_from_str=lambda texts: checked_criterion(texts[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
    ),
]

EngineName = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="auto|compiled|batched:N|compact|native",
        instance_from_str=lambda texts: texts[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
    ),
]

Length = Annotated[
    int | None,
    tyro.conf.arg(metavar="INT"),
    tyro.conf.create_mutex_group(required=False, title="length of a training"),
]
"""The type of `steps` and `epochs`. Exactly one of them is set."""
