"""Runs an experiment from its command line. Imports neither Keras nor a backend: `--backend` is read first."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console

from experiments.older_flags import with_engine
from lth_keras.system import interrupts

if TYPE_CHECKING:
    from lth_keras.search import TicketSearch
    from lth_keras.storage import RunDirectory


def main(config_class: Any, make_search: Callable[[Any, int], TicketSearch], experiment: str) -> None:
    """Reads the command line, runs the experiment, prints its table and draws its figures. Exits on errors.

    Args:
        config_class: the experiment's dataclass, a subclass of `Options`. Its docstring is the text of --help.
        make_search: (config, threads) -> the search; a function of the experiment's module.
        experiment: first part of the name of the run's directory.
    """
    console = Console(stderr=True)
    try:
        with interrupts.stopped_by_signals():
            _main(config_class, make_search, experiment, console)
    except KeyboardInterrupt as stopped:
        command = shlex.join(["python", "-m", f"experiments.{experiment}", *sys.argv[1:]])
        with contextlib.suppress(OSError):  # after SIGHUP the terminal may be closed
            say(console, f"\nStopped. {_kept(stopped)}: {command}")
        raise SystemExit(stopped.exit_code if isinstance(stopped, interrupts.Stopped) else 130) from None


def _kept(stopped: BaseException) -> str:
    """What is left of a stopped run, and what running its command again does."""
    directory: RunDirectory | None = getattr(stopped, "directory", None)
    if directory is None:
        return "Nothing was trained; run it again with"
    if not directory.path.exists():
        return f"{directory.path} and its finished levels were deleted; begin again with"
    return (
        "Finished levels are kept; resume with" if directory.finished() else "No level was finished; begin again with"
    )


def _main(
    config_class: Any, make_search: Callable[[Any, int], TicketSearch], experiment: str, console: Console
) -> None:
    arguments, renamed = with_engine(sys.argv[1:])
    if renamed:
        newer = f"is now {' '.join(arguments[-2:])}" if "--engine" in arguments[-2:] else "has no effect any more"
        say(console, f"Warning: {renamed} {newer}")
    config = tyro.cli(config_class, prog=f"python -m experiments.{experiment}", args=arguments)
    # --describe runs Keras on numpy, so it needs no backend.
    os.environ["KERAS_BACKEND"] = "numpy" if config.describe else config.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        _run(config, make_search, experiment, console)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != config.backend:
            raise
        say(
            console,
            f"Expected the package of --backend {config.backend} to be installed. Received: {error}. "
            "Install it, or choose another --backend.",
        )
        raise SystemExit(1) from None
    except (ValueError, OSError, RuntimeError) as error:  # errors that the user can fix
        say(console, f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _run(config: Any, make_search: Callable[[Any, int], TicketSearch], experiment: str, console: Console) -> None:
    started = time.monotonic()
    if described := list(config.described()):
        Console().print(*described)
        return
    from lth_keras.plots import save_figures
    from lth_keras.report import summary_table
    from lth_keras.search import Asked, LevelError, prepare
    from lth_keras.storage import COMMAND, RunDirectory, open_run, write_note
    from lth_keras.system import ConsoleReporter, duration, usable_cpus

    interrupts.check()
    warnings.showwarning = functools.partial(_show_warning, console)
    for line in config.notes():
        say(console, line)
    interrupts.check()
    recorded = RunDirectory.recorded(config.out, experiment, config.identity())
    if config.workers < 1:
        raise ValueError(f"Expected at least 1 worker. Received: {config.workers}.")
    threads = config.threads
    if threads is None:
        threads = (recorded and recorded.threads) or max(1, usable_cpus() // config.workers)
    make = functools.partial(make_search, config, threads)
    search = make()
    interrupts.check()
    in_workers = config.workers > 1 or config.fresh_graphs
    asked = Asked(config.trials, config.asked_branches(), config.out, config.keep_weights, config.control_levels)
    prepared = prepare(search, asked, in_workers)
    directory, every = prepared.directory, prepared.tasks()
    with directory.locked(every):  # renames damaged levels; the run takes the lock again
        pending = prepared.tasks(directory.finished())
    engine = f"{config.engine}, chosen by each process"
    if pending and not in_workers:
        engine = f"{search.trainer.spelling} ({search.why_engine})"
    say(
        console,
        f"{experiment}: {len(pending)} of {len(every)} trainings to do, {config.length} each, "
        f"{max(search.width, config.workers)} at a time with {threads} thread{'s' if threads > 1 else ''} each; "
        f"engine {engine}; in {directory.path}",
    )
    failure: LevelError | None = None
    output = Console()
    try:
        with ConsoleReporter(len(pending), console, config.metric) as reporter:
            result = search.run(
                **asked._asdict(),
                workers=config.workers,
                fresh_graphs=config.fresh_graphs,
                remake=make,
                facts=config.facts,
                reporter=reporter,
            )
        interrupts.check()
        for line in config.finished(result):
            say(output, line)
    except KeyboardInterrupt as stopped:
        stopped.directory = directory  # type: ignore[attr-defined]  # for the message
        raise
    except LevelError as error:  # raised after the table of the finished levels is printed
        failure = error
    if directory.finished():
        write_note(directory.path, COMMAND, {"arguments": sys.argv[1:]})
        dataset = open_run(directory.path)
        output.print(summary_table(dataset), *([] if failure else config.tables(dataset)))
        for path in [directory.path / "run.h5", *save_figures(dataset, directory.path / "figures")]:
            say(output, f"wrote {path}")
    say(output, f"in {duration(time.monotonic() - started)}")
    if failure:
        raise failure


def search_again(directory: RunDirectory) -> TicketSearch:
    """The search of a run that an experiment made, by its recorded command; sets the Keras backend that it names.

    Raises:
        ValueError: for a run without such a command, or whose command makes another run now.
    """
    from lth_keras.storage import COMMAND, read_note

    found, name = read_note(directory.path, COMMAND), directory.experiment
    try:
        module = importlib.import_module(f"experiments.{name}") if found and name.isidentifier() else None
    except ModuleNotFoundError:
        module = None
    if found is None or module is None:
        raise ValueError(
            f"Expected a run that a command of experiments/ has finished, whose search can be made again. Received: "
            f"{directory.path}. In the script of the search, use Run.ticket(..., retrain=True)."
        )
    arguments, _ = with_engine([str(argument) for argument in found["arguments"]])
    config = tyro.cli(module.Config, prog=f"python -m experiments.{name}", args=arguments)
    os.environ["KERAS_BACKEND"] = config.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if json.loads(json.dumps(config.identity())) != directory.config:
        raise ValueError(
            f"Expected the command that {directory.path} records to make that run. Received: parameters of another: "
            f"{shlex.join(arguments)}."
        )
    search: TicketSearch = module.make_search(config, directory.threads)
    return search


def say(console: Console, text: str) -> None:
    """Prints a text without rich's markup and line breaks."""
    from lth_keras.system import printable

    console.print(printable(text), markup=False, emoji=False, highlight=False, soft_wrap=True)


def _show_warning(console: Console, message: Warning | str, *_: Any, **__: Any) -> None:
    say(console, f"Warning: {message}")
