"""Notes in a run's directory, JSON files beside config.json that decide no result: its model, its command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lth_keras.storage import atomic, record

MODEL, COMMAND = "model", "command"
"""The configuration of the model, and of an experiment the arguments of its command."""


def write_note(directory: Path, name: str, note: Mapping[str, Any]) -> None:
    """Writes a note, unless it is there. Processes may write the same note at the same time.

    Args:
        directory: of the run.
        name: `MODEL`, `model-<variant>` for a variant with a model of its own, or `COMMAND`.
        note: JSON values.

    Raises:
        OSError: It cannot be written.
    """
    file, content = _file(directory, name), (json.dumps(note) + "\n").encode()
    if not file.is_file() or file.read_bytes() != content:
        atomic.write_bytes(file, content)


def read_note(directory: Path, name: str) -> dict[str, Any] | None:
    """A note; None if it was not written.

    Raises:
        ValueError: The file has another content.
    """
    file = _file(directory, name)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected: {file} as lth_keras writes it. Received: another content ({error}); move it away"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"Expected: {file} as lth_keras writes it. Received: a {type(found).__name__}; move it away")
    return found


def note_files(directory: Path) -> set[str]:
    """Names of the files of notes that no variant has."""
    return {_file(directory, name).name for name in (MODEL, COMMAND)}


def _file(directory: Path, name: str) -> Path:
    return directory / f"{record.path_part('note', name)}.json"
