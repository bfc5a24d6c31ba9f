"""A process that reads damaged files one by one: `python -m tests.storage.fuzzing KIND NUMBER SEED FOLDER`."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lth_keras.storage import RunDirectory, open_run, read_level, unsealed, write_level, write_run
from lth_keras.storage.levels import summarise_level
from tests.synthetic import dataset, level_result

BLOCKS = (1, 2, 8, 64, 512)
BATCH = 100


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """The bytes of a file after one damage: bits, blocks, a cut, something put in, taken out or moved."""
    size = min(int(draw.choice(BLOCKS)), len(content))
    at = int(draw.integers(0, len(content) - size + 1))
    before, block, after = content[:at], content[at : at + size], content[at + size :]
    match int(draw.integers(0, 9)):
        case 0:
            return before + bytes([block[0] ^ (1 << int(draw.integers(0, 8)))]) + block[1:] + after
        case 1:
            return before + b"\xff" * size + after
        case 2:
            return before + bytes(size) + after
        case 3:
            return before + draw.bytes(size) + after
        case 4:
            return before
        case 5:
            return before + after
        case 6:
            return before + draw.bytes(size) + block + after
        case 7:
            return before + block + block + after
        case _:
            return after + block + before


def level(folder: Path, number: int = 0) -> tuple[Path, Callable[[], Any]]:
    """A level file, and what is read of it."""
    path = folder / f"level_{number}.h5"
    result = level_result(evaluations=9, classes=4)
    weights = {key: kept * np.float32(2.5) for key, kept in result.mask.items()}
    write_level(path, dataclasses.replace(result, weights=weights))

    def read() -> Any:
        result, summary = read_level(path, weights=True), summarise_level(path)
        curves = {name: values.tobytes() for name, values in result.curves.items()}
        assert result.weights is not None and result.test_confusion is not None
        kept = {name: values.tobytes() for name, values in result.weights.items()}
        of_masks = [{key: bits.tobytes() for key, bits in mask.items()} for mask in (result.mask, result.next_mask)]
        return result.scalars, curves, kept, of_masks, result.test_confusion.tobytes(), summary.densities

    return path, read


def run(folder: Path, number: int = 0) -> tuple[Path, Callable[[], Any]]:
    """A run.h5."""
    path = folder / f"run_{number}.h5"
    write_run(path, dataset(trials=1, levels=2, evaluations=9, classes=3))
    return path, lambda: open_run(path).to_dict()


def config(folder: Path, number: int = 0) -> tuple[Path, Callable[[], Any]]:
    """A config.json."""
    made = RunDirectory.open(folder, f"digits{number}", {"steps": 2000, "rates": {"dense": 0.2}}, threads=2)
    return made.path / "config.json", lambda: vars(RunDirectory.load(made.path))


def outcome(read: Callable[[], Any], expected: Any, path: Path) -> str:
    """`same`, `named`, or what is wrong."""
    try:
        found = read()
    except Exception as error:
        return "named" if path.name in str(error) else f"unnamed {error!r}"
    return "same" if repr(found) == repr(expected) else "silent"


def main() -> None:
    kind, number, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    draw = np.random.default_rng(seed)
    warnings.simplefilter("ignore")
    if kind.startswith("old"):
        old(globals()[kind.removeprefix("old_")], number, draw, folder)
        return
    path, read = globals()[kind](folder)
    content, expected = path.read_bytes(), read()
    for _ in range(number):
        path.write_bytes(damaged(content, draw))
        print(outcome(read, expected, path), flush=True)


def old(
    make: Callable[..., tuple[Path, Callable[[], Any]]], number: int, draw: np.random.Generator, folder: Path
) -> None:
    """The same for files without a checksum, which another process reads first, many at once."""
    unsealed.FILE_SECONDS = 3.0
    for start in range(0, number, BATCH):
        made = [make(folder, n) for n in range(start, min(start + BATCH, number))]
        expected = made[0][1]()
        for path, _ in made:
            path.write_bytes(damaged(path.read_bytes()[:-56], draw))
        unsealed.prepare(path for path, _ in made)
        for path, read in made:
            print(outcome(read, expected, path), flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
