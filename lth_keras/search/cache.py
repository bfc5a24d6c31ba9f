"""A cache that a search shares with its variants: networks, samples and digests of data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_keras.data import Arrays
from lth_keras.training import Network


@dataclass
class Cache:
    """Objects that a search and its variants make once per process.

    Attributes:
        networks: networks by their arguments.
        samples: examples and labels for criteria, by data, seed and number.
        digests: digests of data. Where the key is the data's `id`, the data are kept too, so that the id stays valid.
        compared: seeds of trials whose finished levels were compared with this search, by run directory.
        started: run directories and branches whose given weights are recorded.
        provenance: of levels without their data, by variant and spelling of the engine.
    """

    networks: dict[Hashable, Network] = field(default_factory=dict)
    samples: dict[Hashable, Arrays] = field(default_factory=dict)
    digests: dict[Hashable, tuple[Any, str]] = field(default_factory=dict)
    compared: dict[Path, set[int]] = field(default_factory=dict)
    started: set[tuple[Path, str]] = field(default_factory=set)
    provenance: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)


def key_of(arguments: Mapping[str, Any]) -> Hashable:
    """The key of a network, whose arguments may have lists and dicts of entries for several outputs."""
    return tuple(map(_hashable, arguments.values()))


def _hashable(value: Any) -> Any:
    return tuple(value.items() if isinstance(value, Mapping) else value) if isinstance(value, list | Mapping) else value
