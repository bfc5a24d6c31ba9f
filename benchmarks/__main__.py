"""The command line: `python -m benchmarks CASE [...]`, `--list`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases and prints their results; returns the exit status."""
    from benchmarks import gpu, harness  # not at the top: the process of every turn imports this file
    from benchmarks.cases import CASES

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=harness.__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one or more of {', '.join(CASES)}; or gpu")
    parser.add_argument("--list", action="store_true", help="print what each case measures, and the state of GPU steps")
    parser.add_argument("--rounds", type=int, help="turns of each contender (default: set by the case)")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="NAME", help="patterns of contenders to run")
    parser.add_argument("--small", action="store_true", help="small sizes, to test that a case runs")
    parser.add_argument("--out", type=Path, default=harness.OUT, help="directory of the results (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="gpu: stop before this number of minutes is over")
    parser.add_argument("--step", nargs="+", choices=gpu.STEPS, default=list(gpu.STEPS), help="gpu: only these steps")
    options = parser.parse_args(arguments)
    if options.list or not options.cases:
        print("\n".join(f"{name:14} {case.title}" for name, case in CASES.items()))
        print(f"{'gpu':14} What waits for a GPU:\n{gpu.listing(options.out / 'gpu')}")
        return 0
    unknown = set(options.cases) - {*CASES, "gpu"}
    if unknown:
        parser.error(f"Expected cases among {', '.join(CASES)}, gpu. Received: {', '.join(sorted(unknown))}.")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"Expected rounds of 1 or more. Received: {options.rounds}.")
    try:
        for name in set(options.cases) - {"gpu"}:
            harness.chosen(CASES[name].contenders(options.small), options.only)
    except ValueError as error:
        parser.error(str(error))
    status = 0
    for name in options.cases:
        if name == "gpu":
            status = gpu.run(options.step, options.minutes, options.out / "gpu")
        else:
            print(harness.run(name, CASES[name], options.rounds, options.small, options.out, options.only))
    return status


if __name__ == "__main__":
    sys.exit(main())
