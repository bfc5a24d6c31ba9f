"""A run's directory: its level files, their parameters, and which levels are finished."""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lth_keras.storage import atomic, lock, record
from lth_keras.storage.contents import Level
from lth_keras.storage.facts import Facts
from lth_keras.storage.level_files import LevelFiles, check_open
from lth_keras.storage.levels import LevelResult, write_level
from lth_keras.storage.mask_overlaps import overlap_variables
from lth_keras.storage.notes import note_files
from lth_keras.storage.run_file import NO_FACTS, RUN_FILE, assemble, write_run

CONFIG_FILE = "config.json"


class RunDirectory(LevelFiles):
    """`<out>/<experiment>-<hash>/`: config.json, levels/, run.h5. Made by `open` or `load`.

    Attributes:
        path: The directory.
        experiment: Name of the experiment.
        config: The hashed parameters, as JSON.
        threads: Threads per trial that the levels were made with, None if not recorded.
        tickets: Number of tickets trained at once, in runs of lth_keras 0.1; later level files record the engine.
        versions: Package versions at creation, by package.
        created: Time of creation, ISO 8601 in UTC.
        variants: The changes of each variant that was trained here, by name.
        described: The identity of the search that continues a directory named by an older version; None otherwise.
    """

    def __init__(self, path: Path, entry: Mapping[str, Any]) -> None:
        super().__init__(path)
        self.experiment: str = entry["experiment"]
        self.config: dict[str, Any] = entry["config"]
        self.threads: int | None = entry["threads"]
        self.tickets: int = entry.get("vectorize", 1)
        self.versions: dict[str, str] = entry["versions"]
        self.created: str = entry["created"]
        self.variants: dict[str, Any] = entry.get("variants", {})
        self.described: dict[str, Any] | None = entry.get("described")

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    @classmethod
    def open(
        cls,
        out: str | os.PathLike[str],
        experiment: str,
        config: Mapping[str, Any],
        *,
        threads: int | None = None,
    ) -> RunDirectory:
        """Open the directory of these parameters; create it if absent.

        Args:
            out: Directory that holds runs; created if absent.
            experiment: Name of the experiment, part of the directory's name.
            config: JSON values that determine the results; another config has another directory.
            threads: Threads per trial; None for the recorded number.

        Raises:
            ValueError: The directory was made with another config (edited by hand) or number of threads, or
                `experiment` cannot be part of a path.
            TypeError: `config` is not JSON.
            OSError: `out` cannot be written (PermissionError, NotADirectoryError, ...).
            InUseError: Another process is creating it.
        """
        plain = json.loads(record.canonical(config))
        path = record.path_of(out, experiment, config)
        try:
            path.mkdir(parents=True, exist_ok=True)
            atomic.probe(path)
        except OSError as error:
            raise OSError(
                error.errno,
                f"Expected: an output directory that can be written. Received: out="
                f"{os.fspath(out)!r} ({error.strerror}); choose another with --out",
                str(path),
            ) from error
        if not (path / CONFIG_FILE).exists():
            entry = {
                "experiment": experiment,
                "config": plain,
                "versions": record.versions(),
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "threads": threads,
            }
            with lock.held(path):
                if not (path / CONFIG_FILE).exists():  # another process may have created it
                    _write_record(path, entry)
        return cls._taken(path, experiment, plain, threads)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """The run at `path`, read-only.

        Raises:
            FileNotFoundError: There is no config.json.
            ValueError: config.json is not valid.
        """
        return cls._taken(Path(os.path.expanduser(path)))

    @classmethod
    def _taken(cls, path: Path, *asked: Any) -> RunDirectory:
        """The run at `path`; names differences to `asked`, the arguments of `_check`, before those to its checksum."""
        with _understood(path):
            entry = record.parsed((path / CONFIG_FILE).read_bytes())
            run = cls(path, entry)
        if asked:
            run._check(*asked)
        with _understood(path):
            record.check_sum(entry)
        return run

    @contextlib.contextmanager
    def locked(self, asked: Iterable[Level] | None = None) -> Iterator[None]:
        """Context: this process holds the directory's lock, so it may write. Its workers need no lock.

        First, leftovers of killed processes are removed and damaged level files are renamed. After an error before
        anything was written, a directory that `open` created is removed.

        Args:
            asked: (seed, branch, level) of the files that may be renamed; None for those of the branches that every
                search has.

        Raises:
            InUseError: Another process holds the lock.
            OSError: The directory or one of its subdirectories cannot be read or written.
        """
        with lock.held(self.path):
            check_open(self.path / "levels", below=2)
            atomic.remove_leftovers(self.path)
            for _ in self.summaries(asked):
                pass
            try:
                yield
            except Exception:
                with contextlib.suppress(OSError):
                    empty = {*note_files(self.path), CONFIG_FILE, lock.LOCK_FILE}
                    if {path.name for path in self.path.iterdir()} <= empty:
                        for name in empty:
                            (self.path / name).unlink(missing_ok=True)
                        self.path.rmdir()
                raise

    def kept(self) -> str:
        """A sentence for messages about the finished levels."""
        if not (self.path / CONFIG_FILE).exists():
            return f"{self.path} and its finished levels were deleted."
        return f"Finished levels are kept in {self.path}." if self.finished() else "No level was finished before."

    def check_there(self) -> None:
        """Raises FileNotFoundError if the directory was deleted or moved since it was opened."""
        if not (self.path / CONFIG_FILE).exists():
            raise FileNotFoundError(
                errno.ENOENT,
                "Expected: the run's directory, as when the search began. Received: none; it was deleted or moved with "
                "its finished levels. Put it back, or run the same command again to start again",
                str(self.path),
            )

    @staticmethod
    def recorded(out: str | os.PathLike[str], experiment: str, config: Mapping[str, Any]) -> RunDirectory | None:
        """The directory of these parameters, read-only; None if there is none."""
        path = record.path_of(out, experiment, config)
        if not (path / CONFIG_FILE).exists():
            return None
        return RunDirectory._taken(path, experiment, json.loads(record.canonical(config)), None)

    @property
    def identity(self) -> str:
        """SHA-256 of experiment and config. It identifies the run independently of its path."""
        text = record.canonical({"experiment": self.experiment, "config": self.config})
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, result: LevelResult) -> None:
        """Write a finished level atomically.

        Raises:
            OSError: It could not be written; earlier levels are intact if the directory still exists.
        """
        self.check_there()
        path = self.level_path(result.seed, result.branch, result.level)
        with atomic.explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_level(path, result)

    def write_run(
        self,
        coordinates: Mapping[str, Mapping[str, float] | Mapping[str, str]] | None = None,
        *,
        facts: Facts = NO_FACTS,
        asked: Iterable[Level] = (),
    ) -> Path:
        """Assemble run.h5 from all level files; return its path.

        Args:
            coordinates: Parameters that differ by branch: name to a number or text for each branch.
            facts: Optional content beside the levels.
            asked: (seed, branch, level) of every requested training, finished or not.

        Raises:
            ValueError: No level is finished.
            OSError: It could not be written; an earlier run.h5 is intact.
        """
        asked = set(asked)
        found = dict(self.summaries(asked or None))
        dataset = assemble(
            found.values(),
            experiment=self.experiment,
            config=self.config,
            versions=self.versions,
            created=self.created,
            facts=facts,
        )
        for name, values in (coordinates or {}).items():
            missing = "" if any(isinstance(value, str) for value in values.values()) else np.nan
            along = [values.get(str(branch), missing) for branch in dataset.branch.values]
            dataset = dataset.assign_coords({name: ("branch", np.asarray(along, object if missing == "" else float))})
        overlaps = overlap_variables(dataset, self.level_path, found)
        dataset = dataset.merge(overlaps, combine_attrs="override")
        if asked:
            dataset.attrs["trainings"] = len(asked | set(found))
        write_run(self.path / RUN_FILE, dataset)
        return self.path / RUN_FILE

    def record_variants(self, variants: Mapping[str, Any]) -> None:
        """Record the changes of each variant by name.

        Raises:
            ValueError: A variant of this name has finished levels and other changes.
            InUseError: Another process holds the lock.
            OSError: The record cannot be written.
        """
        plain = json.loads(record.canonical(variants))
        finished = {branch for _, branch, _ in self.finished()}
        for name in plain.keys() & self.variants.keys() & finished:
            changes = list(record.differences(self.variants[name], plain[name]))
            if changes:
                raise ValueError(
                    f"Expected the variant {name!r} whose levels are in {self.path}. Received: {'; '.join(changes)}; "
                    "give the new variant another name, undo the change, or choose another --out"
                )
        self._note("variants", {**self.variants, **plain})

    def record_start(
        self, start: Mapping[str, Any] | None, variant: str = "", *, apart_from: Collection[str] = ()
    ) -> bool:
        """Record initial weights that `build` gives, in start.json, or in a file of the variant.

        Workers may call it at the same time, since all write the same content.

        Args:
            start: JSON values; None if all weights are drawn.
            variant: The variant with these weights; None for all other branches.
            apart_from: Branches with other initial weights.

        Returns:
            Whether this is new.

        Raises:
            ValueError: Finished levels began with other weights.
            OSError: The record cannot be written.
        """
        file = self.path / (f"start-{record.path_part('variant', variant)}.json" if variant else "start.json")
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if before == start:
            return False
        if any(branch not in apart_from for _, branch, _ in self.finished()):
            raise ValueError(
                f"Expected: the initial weights of the levels in {self.path}: "
                f"{before or 'all of them drawn'}. Received: {start or 'all of them drawn'}; undo the change, choose "
                "start='initial' or start='given', or another --out"
            )
        atomic.write_bytes(file, (json.dumps(start, indent=2) + "\n").encode())
        return True

    def record_description(self, described: Mapping[str, Any]) -> None:
        """Record the whole identity of a search that continues a directory named by an older version."""
        self._note("described", json.loads(record.canonical(described)))

    def _note(self, name: str, value: dict[str, Any]) -> None:
        """Set an attribute, and add it to config.json if it is not there."""
        file = self.path / CONFIG_FILE
        if value and json.loads(file.read_text(encoding="utf-8")).get(name) != value:
            with lock.held(self.path):
                entry = json.loads(file.read_text(encoding="utf-8"))
                _write_record(self.path, {**entry, name: value})
        setattr(self, name, value)

    def _check(self, experiment: str, config: dict[str, Any], threads: int | None) -> None:
        changes = list(record.differences(self.config, config))
        if self.experiment != experiment:
            changes.append(f"experiment={self.experiment!r}, expected {experiment!r}")
        if changes:
            raise ValueError(
                f"Expected: {self.path / CONFIG_FILE} with the parameters it was made with. "
                f"Received: {'; '.join(changes)}; undo the change, or choose another --out"
            )
        if threads is not None and threads != self.threads:
            recorded = "an unknown number of" if self.threads is None else self.threads
            raise ValueError(
                f"{self.path} was made with {recorded} threads, received {threads}: "
                "results would not be bit-identical; "
                + ("" if self.threads is None else f"pass --threads {self.threads} or ")
                + "choose another --out"
            )


def _write_record(path: Path, entry: Mapping[str, Any]) -> None:
    text = json.dumps(record.sealed(entry), indent=2, ensure_ascii=False) + "\n"
    atomic.write_bytes(path / CONFIG_FILE, text.encode())


@contextlib.contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Context: errors about a record become one that names its file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"Expected: {path / CONFIG_FILE} as lth_keras writes it. "
            f"Received: another content ({error}); restore it, or move the directory away"
        ) from error
