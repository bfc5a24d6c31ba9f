"""Accepts the parameters that chose an engine in version 0.1, until 0.3."""

from __future__ import annotations

import warnings
from typing import Any

from lth_keras.system import values

FLAGS = {"compact": "compact", "fused": "native"}
EMBEDDINGS: dict[Any, list[str]] = {"exact": [], "dense": ["compiled"], "lazy": ["rows:lazy"]}


def older_spelling(owner: str, parameters: dict[str, Any], engine: str, stacklevel: int = 3) -> str:
    """The engine that older parameters choose, with a warning, or `engine`; removes the older parameters.

    Args:
        owner: name of the class or function with these parameters, for the warning.
        parameters: the given parameters by name.
        engine: the given engine.
        stacklevel: stack level of the warning.

    Raises:
        ValueError: for several engines, or values of another type.
    """
    chosen = [name for flag, name in FLAGS.items() if flag in parameters and values.boolean(flag, parameters.pop(flag))]
    chosen += EMBEDDINGS.get(parameters.pop("embeddings", "exact"), ["embeddings"])
    if (tickets := parameters.pop("vectorize", "auto")) != "auto":
        chosen.append("compiled" if tickets == 1 and tickets is not True else f"batched:{tickets}")
    if len(chosen) > 1 and chosen != ["compact", "native"]:
        raise ValueError(f"Expected one engine. Received: {' and '.join(chosen)}.")
    if not chosen:
        return engine
    spelling = ":".join(chosen)
    warnings.warn(
        f"compact, fused, embeddings and vectorize are now {owner}(engine={spelling!r}).",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
    return spelling
