"""The level files of a run: where they are, reading them, and which levels are finished."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from lth_keras.analysis import BRANCH_ORDER, DENSE
from lth_keras.storage import record, unsealed
from lth_keras.storage.contents import Level
from lth_keras.storage.levels import DamagedFile, LevelResult, LevelSummary, read_level, read_made, summarise_level

_LEVEL_FILE = re.compile(r"level_(\d+)\.h5")
_SEED_DIRECTORY = re.compile(r"seed_(-?\d+)")
_Read = TypeVar("_Read", LevelResult, LevelSummary)


class LevelFiles:
    """The level files of the run at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def level_path(self, seed: int, branch: str, level: int) -> Path:
        """`levels/seed_<seed>/<branch>/level_<nn>.h5`; level 0 is in "dense" for every branch but variants."""
        shared = level == 0 and branch in BRANCH_ORDER
        branch = DENSE if shared else record.path_part("branch", branch)
        return self.path / "levels" / f"seed_{seed}" / branch / f"level_{level:02d}.h5"

    def read(
        self, seed: int, branch: str, level: int, *, weights: bool = False, state: bool = False
    ) -> LevelResult | None:
        """The finished level; None if it has to be trained. `weights` and `state` as in `read_level`.

        A damaged file is renamed to `*.damaged`, with a warning.

        Raises:
            ValueError: Written by a newer version of lth_keras.
            OSError: The file exists but cannot be read.
        """
        return self._read((seed, branch, level), partial(read_level, weights=weights, state=state))

    def summary(self, seed: int, branch: str, level: int) -> LevelSummary | None:
        """Measurements of the finished level; None if it has to be trained. Cheap even for large masks.

        Handles damaged files and raises errors like `read`.
        """
        return self._read((seed, branch, level), summarise_level)

    def summaries(self, asked: Iterable[Level] | None) -> Iterator[tuple[Level, LevelSummary]]:
        """Each intact level file. Renames damaged ones that are asked for, by default those of the usual branches."""
        there = sorted(self.finished())
        unsealed.prepare(self.level_path(*key) for key in there)
        ours = None if asked is None else set(asked)
        for key in there:
            is_ours = key[1] in (DENSE, *BRANCH_ORDER) if ours is None else key in ours
            if summary := self._read(key, summarise_level, is_ours):
                yield key, summary

    def _read(self, key: Level, read: Callable[[Path], _Read], is_ours: bool = True) -> _Read | None:
        """What `read` returns; None if the file is absent, or damaged and therefore renamed, if it is the search's."""
        path = self.level_path(*key)
        try:
            found = read(path)
            if self.level_path(found.seed, found.branch, found.level) != path:
                raise DamagedFile(
                    f"Expected: the seed, branch and level in the name of {str(path)!r}. "
                    f"Received: seed {found.seed}, branch {found.branch!r}, level {found.level}."
                )
            return found
        except (FileNotFoundError, DamagedFile) as error:
            if not is_ours:
                warnings.warn(f"{error} Ignored and not renamed: this search has no such level.", stacklevel=3)
            elif isinstance(error, DamagedFile):
                aside = _unused(path.with_name(path.name + ".damaged"))
                os.replace(path, aside)
                warnings.warn(f"{error} Renamed to {aside.name!r}; the level is trained again.", stacklevel=3)
            return None

    def made(self, seed: int, branch: str, level: int) -> dict[str, Any] | None:
        """What the finished level was made with; empty if not recorded, None if the file is absent or damaged."""
        try:
            return read_made(self.level_path(seed, branch, level))
        except (FileNotFoundError, DamagedFile):
            return None

    def finished(self) -> set[Level]:
        """(seed, branch, level) of every level file, by name only: damaged files count."""
        found = set()
        for path in self.path.glob("levels/*/*/*.h5"):
            seed = _SEED_DIRECTORY.fullmatch(path.parent.parent.name)
            level = _LEVEL_FILE.fullmatch(path.name)
            if seed and level:
                key = int(seed[1]), path.parent.name, int(level[1])
                with contextlib.suppress(ValueError):  # a folder with a name that no branch can have
                    if self.level_path(*key) == path and path.is_file():  # not seed_00, level_3.h5 or a dangling link
                        found.add(key)
        return found


def check_open(folder: Path, below: int) -> None:
    """Raises OSError if a directory, or one up to `below` levels below it, exists and cannot be read and written.

    Otherwise its levels would be trained again, or could not be written after training.
    """
    try:
        with os.scandir(folder) as entries:
            inside = [Path(entry.path) for entry in entries if below and entry.is_dir()]
        effective = os.access in os.supports_effective_ids
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileNotFoundError:
        return
    except OSError as error:
        raise OSError(
            error.errno,
            f"Expected: a directory of levels that can be read and written. Received: {error.strerror}; change its "
            "permissions, then run the same command again",
            str(folder),
        ) from error
    for path in inside:
        check_open(path, below - 1)


def _unused(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist."""
    names = (path.name if number == 1 else f"{path.name}-{number}" for number in itertools.count(1))
    return next(candidate for name in names if not (candidate := path.with_name(name)).exists())
