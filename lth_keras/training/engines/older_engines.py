"""Accepts the parameters that chose an engine in version 0.1, until 0.3."""

from __future__ import annotations

import warnings
from typing import Any

from lth_keras.system import values
from lth_keras.training.engines.registry import AUTO

FLAGS = {"compact": "compact", "fused": "native"}
OLDER_IDENTITIES: dict[str, dict[str, Any]] = {"compiled": {"embeddings": "dense"}}
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
    older = parameters.keys() & {*FLAGS, "embeddings", "vectorize"}
    chosen = [name for flag, name in FLAGS.items() if flag in parameters and values.boolean(flag, parameters.pop(flag))]
    chosen += EMBEDDINGS.get(parameters.pop("embeddings", "exact"), ["embeddings"])
    tickets = parameters.pop("vectorize", "auto")
    if tickets != "auto" and (tickets is True or tickets != 1):
        chosen.append(f"batched:{tickets}")
    if len(chosen) > 1 and chosen != ["compact", "native"]:
        raise ValueError(f"Expected one engine. Received: {' and '.join(chosen)}.")
    if not older:
        return engine
    spelling = ":".join(chosen) or AUTO
    warnings.warn(
        f"compact, fused, embeddings and vectorize are now {owner}(engine={spelling!r}).",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
    return spelling


def older_identity(spelling: str) -> dict[str, Any]:
    """What version 0.1 added to the identity of a run that is trained by this engine, where that has changed."""
    return dict(OLDER_IDENTITIES.get(spelling, {}))


def without_older(training: Any, spelling: str) -> Any:
    """The recorded parameters of a level without what version 0.1 added for the engine that trains now."""
    if not isinstance(training, dict):
        return training
    older = older_identity(spelling)
    return {name: value for name, value in training.items() if name not in older or value != older[name]}
