"""Measures contenders in turns, each turn in a fresh process, and writes JSON and a Markdown table."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import multiprocessing
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks import machine

OUT = Path("results/benchmarks")
RATIOS_OF = {"steps/s": 1, "ms": -1}
"""What the names of quantities with ratios begin with, and the power of a quantity that is a speed."""


class Contender(NamedTuple):
    """A way to do the work of a case.

    Attributes:
        backend: `KERAS_BACKEND` of its processes; a contender without an installed backend is left out.
        measure: runs in a new process; an importable function that returns numbers by name, with their unit.
        arguments: its arguments.
        options: its named arguments.
    """

    backend: str
    measure: Callable[..., Mapping[str, float]]
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}


class Case(NamedTuple):
    """A benchmark.

    Attributes:
        title: what it measures.
        setting: a paragraph on network, data and method.
        contenders: (whether small) -> the contenders by name. Small ones only test that they run.
        data: (whether small) -> the name of the data on this machine.
        ratios: pairs of contenders; the first is divided by the second.
        rounds: turns of each contender.
        prepare: (whether small, a folder) -> None; runs once, in a process of its own, before the turns, and writes
            files that all contenders read, each from the same folder, its named argument `folder`.
    """

    title: str
    setting: str
    contenders: Callable[[bool], Mapping[str, Contender]]
    data: Callable[[bool], str]
    ratios: Sequence[tuple[str, str]] = ()
    rounds: int = 5
    prepare: Callable[[bool, str], None] | None = None


def measure(case: Case, rounds: int | None = None, small: bool = False, only: Sequence[str] = ("*",)) -> dict[str, Any]:
    """Runs the turns; each round begins with another contender.

    Args:
        case: to measure.
        rounds: turns of each contender; None for the case's number.
        small: whether to use small contenders.
        only: patterns of the names of contenders to run.

    Returns:
        JSON values: `quantities`, by contender and name, and `ratios` within a round, each as `summary` gives it;
        `left_out`, why contenders are left out.

    Raises:
        ValueError: for a pattern that no contender matches.
        RuntimeError: if a contender that ran in the first round fails in a later one.
    """
    contenders = chosen(case.contenders(small), only)
    if case.prepare is None:
        return _measured(case, contenders, rounds or case.rounds, small)
    with TemporaryDirectory() as folder:
        take_turn(Contender("tensorflow", _prepared, (case.prepare, small, folder)))
        contenders = {
            name: contender._replace(options={**contender.options, "folder": folder})
            for name, contender in contenders.items()
        }
        return _measured(case, contenders, rounds or case.rounds, small)


def chosen(contenders: Mapping[str, Contender], only: Sequence[str]) -> dict[str, Contender]:
    """The contenders whose names match one of several patterns, in their order.

    Raises:
        ValueError: for a pattern that none matches.
    """
    for pattern in only:
        if not fnmatch.filter(contenders, pattern):
            raise ValueError(f"Expected a contender among {'; '.join(contenders)}. Received: {pattern!r}.")
    return {
        name: contender
        for name, contender in contenders.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in only)
    }


def _prepared(prepare: Callable[[bool, str], None], small: bool, folder: str) -> Mapping[str, float]:
    prepare(small, folder)
    return {}


def _measured(case: Case, contenders: Mapping[str, Contender], rounds: int, small: bool) -> dict[str, Any]:
    turns: dict[str, list[Mapping[str, float]]] = {}
    left_out: dict[str, str] = {}
    for number in range(rounds):
        names = [name for name in contenders if name not in left_out]
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            try:
                turns.setdefault(name, []).append(take_turn(contenders[name]))
            except Exception as error:
                if number:
                    raise RuntimeError(f"{name!r} failed in round {number + 1}.") from error
                left_out[name] = f"{type(error).__name__}: {error}"
                del turns[name]
            told = left_out.get(name) or ", ".join(f"{key} {shown(v)}" for key, v in turns[name][-1].items())
            print(f"round {number + 1} of {rounds}, {name}: {told}", flush=True)
    values = {name: {key: [turn[key] for turn in each] for key in each[0]} for name, each in turns.items()}
    return {
        "data": case.data(small),
        "rounds": rounds,
        "small": small,
        "quantities": {
            name: {key: summary(each) for key, each in found.items()} for name, found in values.items() if found
        },
        "ratios": list(ratios(case.ratios, values)),
        "left_out": left_out,
    }


def take_turn(contender: Contender) -> Mapping[str, float]:
    """Runs a contender in a new process; returns its numbers.

    Raises:
        ModuleNotFoundError: if its backend is not installed.
        ArithmeticError: if a number is not finite.
        Exception: of the contender.
    """
    if importlib.util.find_spec(contender.backend) is None:
        raise ModuleNotFoundError(f"{contender.backend} is not installed")
    with environment({"KERAS_BACKEND": contender.backend}):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(contender.measure, *contender.arguments, **contender.options).result()
    if not all(np.isfinite(value) for value in found.values()):
        raise ArithmeticError(f"Expected finite numbers. Received: {dict(found)}.")
    return found


def ratios(
    pairs: Sequence[tuple[str, str]], values: Mapping[str, Mapping[str, Sequence[float]]]
) -> Iterator[dict[str, Any]]:
    """How many times as fast the first of each pair of contenders is, by round, for quantities of both."""
    for of, to in pairs:
        for key in values.get(of, {}):
            powers = [power for start, power in RATIOS_OF.items() if key.startswith(start)]
            if powers and key in values.get(to, {}):
                divided = np.divide(values[of][key], values[to][key]) ** powers[0]
                yield {"of": of, "to": to, "quantity": key, **summary(divided)}


def summary(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Median, spread and values, with one value per round."""
    array = np.asarray(values, np.float64)
    return {
        "median": float(np.median(array)),
        "min": float(array.min()),
        "max": float(array.max()),
        "rounds": array.tolist(),
    }


def run(
    name: str,
    case: Case,
    rounds: int | None = None,
    small: bool = False,
    out: Path = OUT,
    only: Sequence[str] = ("*",),
) -> str:
    """Measures a case and writes `<out>/<name>.json` and `<name>.md`; returns the Markdown. Args: see `measure`."""
    result = {
        "benchmark": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "machine": machine.describe(),
        **measure(case, rounds, small, only),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    text = markdown(case, result)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    return text


def markdown(case: Case, result: Mapping[str, Any]) -> str:
    """A result as Markdown."""
    quantities = result["quantities"]
    columns = list(dict.fromkeys(key for found in quantities.values() for key in found))
    heads = [head for key in columns for head in (key, "min - max")]
    rows = [
        [name, *(cell for key in columns for cell in (spread(found[key]) if key in found else ("", "")))]
        for name, found in quantities.items()
    ]
    several = len({ratio["quantity"] for ratio in result["ratios"]}) > 1
    compared = [
        [f"{r['of']} / {r['to']}" + (f", {r['quantity']}" if several else ""), *spread(r)] for r in result["ratios"]
    ]
    small = "**Small sizes, which only show that it runs.** " if result["small"] else ""
    return "\n".join(
        [
            f"# {case.title}",
            "",
            f"{small}{case.setting} Data: {result['data']}. Rounds: {result['rounds']}; each turn is a fresh process.",
            "",
            table(["contender", *heads], rows),
            "",
            *(
                ["Ratios within a round:", "", table(["ratio", "median", "min - max"], compared), ""]
                if compared
                else []
            ),
            *(f"- Left out: {name}: {why}" for name, why in result["left_out"].items()),
            f"- Command: `{result['command']}`, {result['created']}",
            machine.as_markdown(result["machine"]),
            "",
        ]
    )


def spread(summed: Mapping[str, Any]) -> tuple[str, str]:
    """A summary as two cells: `1.53`, `1.49 - 1.60`."""
    return shown(summed["median"]), f"{shown(summed['min'])} - {shown(summed['max'])}"


def shown(value: float) -> str:
    """A number with three digits that count, or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [columns, rule, *rows])


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Processes that are started within it have these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
