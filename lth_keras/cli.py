"""The console script `lth-keras`: figures, tables and networks of runs. Only the last need Keras."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import lth_keras
from lth_keras.analysis import common_variable, compare, explained, scale_of, units_of
from lth_keras.storage import RunDirectory, open_run, write_csv
from lth_keras.system import plain, printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `lth-keras` with `arguments`, by default those of the process.

    Returns:
        The exit code: 0, or 2 for invalid input (the reason is printed to standard error).
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        print(printable(f"lth-keras: {error}"), file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lth-keras", description="Show runs of lth_keras.")
    parser.add_argument("--version", action="version", version=f"lth_keras {lth_keras.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run_help = "run directory, or a run.h5"
    one_run = argparse.ArgumentParser(add_help=False)
    one_run.add_argument("run", metavar="RUN", type=_path, help=run_help)

    plot = commands.add_parser("plot", parents=[one_run], help="draw all figures of a run")
    plot.add_argument(
        "--out",
        metavar="DIR",
        type=_path,
        help="directory for the figures (default: figures/ beside the run.h5)",
    )
    plot.add_argument(
        "--formats",
        nargs="+",
        choices=("png", "svg", "pdf"),
        metavar="FORMAT",
        help="png, svg, pdf (default: png svg; with --style paper pdf)",
    )
    plot.add_argument(
        "--style",
        choices=("screen", "paper"),
        default="screen",
        help="screen, or paper: for two columns on A4, in serif (default: screen)",
    )
    plot.add_argument(
        "--baseline",
        metavar="BRANCH",
        help="baseline of relative_accuracy and overlaps, in runs whose branches have schedules: a branch, or dense "
        "(default: winning_ticket)",
    )
    plot.set_defaults(command=_plot)

    report = commands.add_parser("report", parents=[one_run], help="print the table of a run")
    report.set_defaults(command=_report)

    comparison = commands.add_parser(
        "compare",
        help="rank the branches of one run or several, and test them against a baseline",
        description="Rank the branches at each density, and test each against a baseline on the seeds that both have. "
        "docs/statistics.md explains the numbers.",
    )
    comparison.add_argument(
        "runs", metavar="RUN", nargs="+", type=_path, help=f"{run_help}; several are numbered from 1 on"
    )
    comparison.add_argument(
        "--baseline",
        metavar="BRANCH",
        help="baseline of the tests: a branch, 2:BRANCH of the second run, or dense, the network before pruning "
        "(default: winning_ticket, else the first branch)",
    )
    comparison.add_argument(
        "--density",
        metavar="D",
        nargs="+",
        type=float,
        help="shares of weights kept, in (0, 1] (default: all of the baseline's)",
    )
    comparison.add_argument(
        "--variable",
        metavar="NAME",
        help="variable to compare, by trial, branch and level (default: the metric at early stop, such as "
        "test_accuracy_at_early_stop)",
    )
    comparison.add_argument(
        "--test",
        choices=("permutation", "wilcoxon", "welch"),
        default="permutation",
        help="test for the verdicts: paired permutation test (default), Wilcoxon's signed-rank test, Welch's t test",
    )
    comparison.add_argument(
        "--difference",
        metavar="POINTS",
        type=float,
        help="print the number of trials needed to find this difference, in percentage points (or the variable's unit)",
    )
    comparison.add_argument("--csv", metavar="FILE", type=_path, help="also write every number to this file")
    comparison.set_defaults(command=_compare)

    export = commands.add_parser(
        "export",
        parents=[one_run],
        help="write the numbers of a run as tables, or the network of a level to a file that is served",
        description="Write the numbers of a run as tables, or the trained network of a level to a file. docs/deploy.md "
        "says which file is for what.",
    )
    export.add_argument(
        "--to",
        choices=("csv", "ticket", "keras", "litert", "onnx"),
        required=True,
        help="csv: levels.csv, a row for each trial, branch and level; curves.csv, a row for each evaluation. ticket: "
        "mask and surviving weights, for lth_keras.load_ticket. keras: a smaller .keras file, for Keras alone. litert, "
        "onnx: for these runtimes; need the extra of that name",
    )
    export.add_argument("--trial", type=int, default=0, metavar="N", help="trial, counted from 0 (default: 0)")
    export.add_argument("--level", type=int, metavar="N", help="number of prunings (default: the branch's last level)")
    export.add_argument("--branch", default="winning_ticket", metavar="BRANCH", help="branch (default: winning_ticket)")
    export.add_argument(
        "--weights",
        choices=("final", "rewound"),
        default="final",
        help="final: after training. rewound: before it; only of runs of experiments (default: final)",
    )
    export.add_argument(
        "--retrain",
        action="store_true",
        help="train the level again, to the same bits, where its final weights were not kept; only of runs of "
        "experiments",
    )
    stored = export.add_mutually_exclusive_group()
    for kind, text in (("int8", "8"), ("float16", "16")):
        stored.add_argument(
            f"--{kind}",
            dest="values",
            action="store_const",
            const=kind,
            default="float32",
            help=f"store weights in {text} bits (ticket, litert)",
        )
    export.add_argument(
        "--batch-size", type=int, metavar="N", help="litert: examples of each call; needed by recurrent layers"
    )
    export.add_argument("--out", metavar="DIR", type=_path, help="directory for the files (default: beside the run.h5)")
    export.set_defaults(command=_export)

    listing = commands.add_parser("list", help="list the runs in a directory")
    listing.add_argument("directory", metavar="DIR", type=_path, help="directory that holds runs")
    listing.set_defaults(command=_list)
    return parser


def _path(text: str) -> Path:
    """Expands `~`, which shells leave in `--out=~/figures`."""
    return Path(os.path.expanduser(text))


def _directory(run: Path) -> Path:
    return run if run.is_dir() else run.parent


def _plot(options: argparse.Namespace) -> None:
    from lth_keras.plots import save_figures  # matplotlib is slow to import

    dataset = _opened(options.run)
    out = options.out or _directory(options.run) / "figures"
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        for path in save_figures(dataset, out, options.formats, options.style, options.baseline):
            print(printable(path))


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(printable(f"lth-keras: {message}"), file=sys.stderr)


def _report(options: argparse.Namespace) -> None:
    from lth_keras.report import summary_table

    Console().print(summary_table(_opened(options.run)))


def _compare(options: argparse.Namespace) -> None:
    from lth_keras.report import compare_table, write_comparison

    runs = {str(number): _opened(path) for number, path in enumerate(options.runs, 1)}
    variable = options.variable or common_variable(runs)
    scale = scale_of(units_of(runs["1"], variable))
    comparison = compare(
        runs,
        baseline=options.baseline,
        densities=options.density,
        variable=variable,
        test=options.test,
        difference=None if options.difference is None else options.difference / scale,
    )
    console = Console()
    if len(runs) > 1:
        for name, path in zip(runs, options.runs, strict=True):
            console.print(plain(f"{name}: {path}"))
    console.print(compare_table(comparison))
    for words in dict.fromkeys(filter(None, map(explained, runs.values()))):
        console.print(plain(words))
    if options.csv:
        write_comparison(options.csv, comparison)
        print(printable(options.csv))


def _export(options: argparse.Namespace) -> None:
    if options.to != "csv":
        _export_network(options)
        return
    for path in write_csv(options.out or _directory(options.run), _opened(options.run)):
        print(path)


def _export_network(options: argparse.Namespace) -> None:
    directory = RunDirectory.load(_directory(options.run))
    again = options.retrain or options.weights == "rewound"
    search = importlib.import_module("experiments.command").search_again(directory) if again else None
    if options.to in ("litert", "onnx"):
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from lth_keras.search import Run, stored_level, write_level_model  # imports Keras

    stored = stored_level(directory, options.trial, options.level, options.branch)
    model = None
    if search is not None:
        model = Run(search, directory).ticket(
            stored.trial, stored.level, options.weights, branch=stored.branch, retrain=options.retrain
        )
    path = write_level_model(
        directory,
        stored,
        options.to,
        out=options.out,
        model=model,
        values=options.values,
        batch_size=options.batch_size,
    )
    result = stored.result
    metric = result.metric
    reached = result.scalars[f"test_{metric.name}_final"]
    trained = f"after training, test {metric.label} {reached:.4g}" if options.weights == "final" else "before training"
    print(
        printable(
            f"{path}: {stored.branch}, trial {stored.trial}, level {stored.level}, {result.mask.density:.2%} of the "
            f"weights, {trained}; {path.stat().st_size:,} bytes"
        )
    )


def _opened(path: Path) -> Any:
    """A run, without the warning about names of metrics in older files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return open_run(path)


def _list(options: argparse.Namespace) -> None:
    from lth_keras.report import list_table

    Console().print(list_table(options.directory))


if __name__ == "__main__":
    sys.exit(main())
