"""What a benchmark leaves behind: its numbers as JSON, and Markdown made from that JSON."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine

OUT = Path("results/benchmarks")
NAMES = {"keras": "Keras", "tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
"""What is installed, as people write it."""


def header(name: str) -> dict[str, Any]:
    """What every result begins with: the benchmark, the time, the command and the machine."""
    return {
        "benchmark": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": machine.describe(),
    }


def summary(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Median and spread of one value per round, and the values themselves."""
    array = np.asarray(values, np.float64)
    return {
        "median": float(np.median(array)),
        "min": float(array.min()),
        "max": float(array.max()),
        "rounds": array.tolist(),
    }


def spread(summed: dict[str, Any], form: str) -> list[str]:
    """A summary as two cells: `1.53`, `1.49 - 1.60`, each number in the format `form`."""
    median, low, high = (format(summed[key], form) for key in ("median", "min", "max"))
    return [median, f"{low} - {high}"]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [columns, rule, *rows])


def about(result: dict[str, Any]) -> str:
    """The lines that say how a result was made."""
    m = result["machine"]
    changed = " with uncommitted changes" if m["uncommitted_changes"] else ""
    accelerators = f"; {', '.join(m['accelerators'])}" if m["accelerators"] else ""
    return "\n".join(
        [
            f"- Command: `{result['command']}`, {result['created']}",
            f"- Commit: {m['commit'] or 'unknown'}{changed}",
            f"- Machine: {m['cpu']}, {m['cores']} cores, {m['memory_bytes'] / 2**30:.0f} GiB"
            f"{accelerators}; {m['system']}; load average before: {m['load_average']}",
            f"- Versions: Python {m['python']}, "
            + ", ".join(f"{NAMES.get(name, name)} {m[name]}" for name in machine.PACKAGES if name in m),
        ]
    )


def write(result: dict[str, Any], markdown: Callable[[dict[str, Any]], str], out: Path) -> str:
    """Writes `<out>/<benchmark>.json` and, from what was written, `<benchmark>.md`.

    Args:
        result: JSON values, with the keys of `header`.
        markdown: makes the Markdown from the result as it is read back.
        out: directory; made where it is missing.

    Returns:
        The Markdown.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{result['benchmark']}.json"
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    text = markdown(json.loads(path.read_text(encoding="utf-8")))
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    return text
