"""The record of a run: its parameters as canonical JSON, their hash, and differences between two of them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

LONGEST = 200
"""Largest size of a name in bytes: file systems allow 255, and some names get a hash."""
_PACKAGES = ("lth_keras", "keras", "tensorflow", "jax", "torch", "numpy", "h5py")


_SUM = "sha256"
_REQUIRED = {"experiment": str, "config": dict, "versions": dict, "created": str, "threads": int}
_OPTIONAL = {"vectorize": int, "variants": dict, "described": dict}
_MOST = 1 << 31  # limit of counts


def sealed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The record with a checksum of its entries."""
    others = {name: value for name, value in entry.items() if name != _SUM}
    return {**others, _SUM: hashlib.sha256(canonical(others).encode()).hexdigest()}


def parsed(content: bytes) -> dict[str, Any]:
    """A record, without verifying its checksum.

    Raises:
        ValueError: The content is not UTF-8 or JSON, or entries have other names or types.
    """
    try:
        entry = json.loads(content.decode(), object_pairs_hook=_once, parse_constant=_refused)
    except UnicodeDecodeError as error:
        raise ValueError(f"another encoding than UTF-8 ({error})") from error
    except RecursionError as error:
        raise ValueError("lists within lists without an end") from error
    if not isinstance(entry, dict):
        raise ValueError(f"a {type(entry).__name__}, no record")
    if missing := _REQUIRED.keys() - entry.keys():
        raise ValueError(f"a record without {sorted(missing)}")
    for name, kind in {**_REQUIRED, **_OPTIONAL}.items():
        if name in entry and not _fits(name, kind, entry[name]):
            raise ValueError(f"{name} {entry[name]!r}")
    return entry


def check_sum(entry: Mapping[str, Any]) -> None:
    """Raises ValueError if a record was changed after it was written. Records of lth_keras 0.1 have no checksum."""
    if _SUM in entry:
        if sealed(entry)[_SUM] != entry[_SUM]:
            raise ValueError(f"entries that do not fit its {_SUM}: it was changed after it was written")
    elif unknown := entry.keys() - _REQUIRED.keys() - _OPTIONAL.keys():
        raise ValueError(f"unknown entries {sorted(unknown)}, and no {_SUM}")


def _fits(name: str, kind: Any, value: Any) -> bool:
    if not isinstance(value, kind) or isinstance(value, bool):
        return name == "threads" and value is None
    if name == "created":
        with contextlib.suppress(ValueError):
            return bool(datetime.datetime.fromisoformat(value))
        return False
    if name == "versions":
        return all(isinstance(version, str) for version in value.values())
    return kind is not int or 1 <= value < _MOST


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"an entry twice among {[name for name, _ in pairs]}")
    return found


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant}, which is no JSON")


def path_of(out: str | os.PathLike[str], experiment: str, config: Mapping[str, Any]) -> Path:
    """`<out>/<experiment>-<hash>`; the hash is the first 8 hex digits of SHA-256 of the config."""
    digest = hashlib.sha256(canonical(config).encode()).hexdigest()
    return Path(os.path.expanduser(out)) / f"{path_part('experiment', experiment)}-{digest[:8]}"


def canonical(config: Mapping[str, Any]) -> str:
    """The JSON text of `config`, independent of the order of its entries.

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
    """`name`, if every file system accepts it as a part of a path; ValueError otherwise."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # a lone surrogate
        size = LONGEST + 1
    unfit = set('/\\:*?"<>|') | set(map(chr, range(32))) | {"\x7f"}
    if not name or name.startswith(".") or name[-1] in ". " or set(name) & unfit or size > LONGEST:
        raise ValueError(f"Expected: a name of {what} that can be part of a path. Received: {name!r}")
    return name


def differences(recorded: Any, given: Any, name: str = "") -> Iterator[str]:
    """A phrase for each entry in which two JSON values differ."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        for key in sorted(recorded.keys() | given.keys()):
            inner = f"{name}.{key}" if name else key
            if key not in recorded:
                yield f"{inner} missing, expected {given[key]!r}"
            elif key not in given:
                yield f"{inner}={recorded[key]!r} unexpected"
            else:
                yield from differences(recorded[key], given[key], inner)
    elif isinstance(recorded, list) and isinstance(given, list) and len(recorded) == len(given):
        for place, pair in enumerate(zip(recorded, given, strict=True)):
            yield from differences(*pair, f"{name}[{place}]")
    elif recorded != given:
        yield f"{name}={recorded!r}, expected {given!r}"


def versions() -> dict[str, str]:
    """Version of Python and of each installed package that can change results, without importing them."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
