"""`python -m datasets` lists the data sets; `python -m datasets fetch NAME` downloads one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from datasets import digits, mnist, newsgroups
from datasets.errors import DataUnavailable

DATASETS: dict[str, ModuleType] = {"digits": digits, "mnist": mnist, "newsgroups": newsgroups}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status, 0 or, if data cannot be had, 1."""
    parser = argparse.ArgumentParser(prog="python -m datasets", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="list the data sets (also without a command)")
    fetch = commands.add_parser("fetch", help="download a data set into its cache")
    fetch.add_argument("name", choices=sorted(DATASETS))
    options = parser.parse_args(arguments)
    if options.command != "fetch":
        print(_listing())
        return 0
    try:
        DATASETS[options.name].fetch()
    except DataUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.name}: {DATASETS[options.name].status().where}")
    return 0


def _listing() -> str:
    rows = [("name", "here", "train / validation / test", "looked for in")]
    for module in DATASETS.values():
        status = module.status()
        rows.append((status.name, "yes" if status.present else "no", status.counts, status.where))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    padded = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(padded)


if __name__ == "__main__":
    sys.exit(main())
