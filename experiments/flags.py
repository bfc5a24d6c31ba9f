"""Types of command-line flags that experiments share."""

from __future__ import annotations

from collections.abc import Callable
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


def checked_rewind(rewind: str) -> str:
    """The usual spelling of a form of rewinding.

    Raises:
        ValueError: for an unknown one.
    """
    from lth_keras.search import check_rewind

    return check_rewind(rewind)


def checked_pattern(pattern: str) -> str:
    """The usual spelling of a pattern.

    Raises:
        ValueError: for an unknown one.
    """
    from lth_keras.search import check_pattern

    return check_pattern("pattern", pattern)


def _name(metavar: str, read: Callable[[str], str] = str) -> tyro.constructors.PrimitiveConstructorSpec[str]:
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda texts: read(texts[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
    )


CriterionName = Annotated[str, _name("NAME|stacked(NAME,NAME)", checked_criterion)]
EngineName = Annotated[str, _name("auto|compiled|batched:N|compact|native")]
RewindName = Annotated[str, _name("init|step:K|epoch:K|learning_rate|fine_tune|none", checked_rewind)]
PatternName = Annotated[str, _name("units|heads|4x4|2:4", checked_pattern)]
Scope = Literal["layer", "global"]
Length = Annotated[
    int | None,
    tyro.conf.arg(metavar="INT"),
    tyro.conf.create_mutex_group(required=False, title="length of a training"),
]
"""The type of `steps` and `epochs`. Exactly one of them is set."""
