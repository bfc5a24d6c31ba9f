"""What chose an engine in version 0.1, accepted until 0.3."""

from __future__ import annotations

import warnings
from typing import Any

from lth_keras.system import values

FLAGS = {"compact": "compact", "fused": "native"}
EMBEDDINGS: dict[Any, list[str]] = {"exact": [], "dense": ["compiled"], "lazy": ["rows:lazy"]}


def older_spelling(owner: str, parameters: dict[str, Any], engine: str, stacklevel: int = 3) -> str:
    """The engine of parameters by their older names, which are taken out, with a warning; else the one that is given.

    Args:
        owner: whose parameters they are, for the warning.
        parameters: what is given, by name.
        engine: the engine that is given beside them.
        stacklevel: of the warning.

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
