"""What names a run: its parameters as one text, their hash, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("lth_keras", "keras", "tensorflow", "jax", "numpy", "h5py")


def path_of(out: str | os.PathLike[str], experiment: str, config: Mapping[str, Any]) -> Path:
    """`<out>/<experiment>-<hash>`; the hash is the first 8 hex digits of SHA-256 of the config."""
    digest = hashlib.sha256(canonical(config).encode()).hexdigest()
    return Path(out) / f"{path_part('experiment', experiment)}-{digest[:8]}"


def canonical(config: Mapping[str, Any]) -> str:
    """The one JSON text of `config`, whatever the order of its entries.

    Raises:
        TypeError: A value is not JSON, NaN and infinity included.
    """
    try:
        return json.dumps(dict(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Expected: a config of JSON values (str, int, finite float, bool, None, list, dict). "
            f"Received: {config!r} ({error})"
        ) from error


def path_part(what: str, name: str) -> str:
    """`name`, if every file system takes it as one part of a path; ValueError otherwise."""
    if not name or name.startswith(".") or set(name) & set('/\\\0:*?"<>|'):
        raise ValueError(f"Expected: a name of {what} that can be part of a path. Received: {name!r}")
    return name


def differences(recorded: Any, given: Any, name: str = "") -> Iterator[str]:
    """Sentences that name each entry in which two JSON values differ."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        for key in sorted(recorded.keys() | given.keys()):
            inner = f"{name}.{key}" if name else key
            if key not in recorded:
                yield f"{inner} missing, expected {given[key]!r}"
            elif key not in given:
                yield f"{inner}={recorded[key]!r} unexpected"
            else:
                yield from differences(recorded[key], given[key], inner)
    elif recorded != given:
        yield f"{name}={recorded!r}, expected {given!r}"


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can change numbers; imports none."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
