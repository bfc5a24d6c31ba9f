"""The console script `lth-keras`: looks at finished runs; loads neither Keras nor a backend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from lth_keras.results import open_run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `lth-keras` with `arguments`, by default those of the process.

    Returns:
        The exit code: 0, or 2 for input that cannot be used (the reason goes to standard error).
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except (OSError, ValueError) as error:
        print(f"lth-keras: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lth-keras", description="Look at runs of lth_keras.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run_help = "run directory, or a run.h5"

    plot = commands.add_parser("plot", help="draw the figures of a run")
    plot.add_argument("run", metavar="RUN", type=Path, help=run_help)
    plot.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="where the figures go (default: figures/ beside the run.h5)",
    )
    plot.add_argument(
        "--formats",
        nargs="+",
        choices=("png", "svg", "pdf"),
        default=("png", "svg"),
        metavar="FORMAT",
        help="png, svg, pdf (default: png svg)",
    )
    plot.set_defaults(command=_plot)

    report = commands.add_parser("report", help="print the table of a run")
    report.add_argument("run", metavar="RUN", type=Path, help=run_help)
    report.set_defaults(command=_report)

    listing = commands.add_parser("list", help="list the runs in a directory")
    listing.add_argument("directory", metavar="DIR", type=Path, help="directory that holds runs")
    listing.set_defaults(command=_list)
    return parser


def _plot(options: argparse.Namespace) -> None:
    from lth_keras.plots import save_figures  # matplotlib takes a while to load

    dataset = open_run(options.run)
    beside = options.run if options.run.is_dir() else options.run.parent
    for path in save_figures(dataset, options.out or beside / "figures", options.formats):
        print(path)


def _report(options: argparse.Namespace) -> None:
    from lth_keras.report import summary_table

    Console().print(summary_table(open_run(options.run)))


def _list(options: argparse.Namespace) -> None:
    from lth_keras.report import list_table

    Console().print(list_table(options.directory))


if __name__ == "__main__":
    sys.exit(main())
