"""Writes the network of a finished level to a file that is served."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from lth_keras.export import export_model, save_ticket
from lth_keras.search.stored import Stored, stored_model
from lth_keras.storage import RunDirectory
from lth_keras.system import one_of

ENDINGS = {"ticket": ".ticket.h5", "keras": ".keras", "litert": ".tflite", "onnx": ".onnx"}
"""What a level can be written as, and the ending of the file."""


def write_level_model(
    directory: RunDirectory,
    stored: Stored,
    to: str,
    *,
    out: str | os.PathLike[str] | None = None,
    model: keras.Model | None = None,
    values: str = "float32",
    batch_size: int | None = None,
) -> Path:
    """Writes the network of a finished level and returns the path.

    Args:
        directory: of the run.
        stored: the level.
        to: one of `ENDINGS`.
        out: directory of the file; None for the run's.
        model: its masked model; None makes it from the run's files, with the final weights.
        values: as in `save_ticket` and `export_model`.
        batch_size: as in `export_model`.

    Raises:
        ValueError: as `stored_model`, `save_ticket` and `export_model`.
        ModuleNotFoundError: as `export_model`.
        RuntimeError: as `export_model`.
    """
    one_of("to", to, tuple(ENDINGS))
    made = stored_model(directory, stored) if model is None else model
    folder = directory.path if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stored.branch}-trial-{stored.trial}-level-{stored.level:02d}{ENDINGS[to]}"
    if to == "ticket":
        save_ticket(path, made, values=values)
    else:
        export_model(path, made, values=values, batch_size=batch_size)
    return path
