"""Fills docs/performance.md with what has been measured: `python -m benchmarks.performance`, after benchmarks have run.

Between `<!-- NAME -->` and `<!-- end of NAME -->` it puts the first tables of results/benchmarks/NAME.md and what they
were made on, or, where that is not there, the command that makes it. `<!-- flop -->` is worked out here.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import report
from benchmarks.flop import markdown, networks, step_cost

DOCUMENT = Path("docs/performance.md")
TABLES = {"training_speed": 2, "embedding_step": 1, "together": 1, "memory": 1, "dead_units": 2, "gpu_limits": 1}
"""Which results are shown, and how many of their tables."""


def flop_table() -> str:
    """What a step of each network needs; builds the largest, 1.2 GB."""
    return markdown({name: step_cost(build(), 60, rows) for name, (build, rows) in networks().items()})


def measured(name: str, folder: Path = report.OUT) -> str:
    """The first tables of a result, and its commit and machine; or how to make it."""
    places = [folder / f"{name}.md", folder / "gpu" / "limits" / f"{name}.md"]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        return f"Not measured yet: `python -m benchmarks.{name}`."
    lines = found.read_text(encoding="utf-8").splitlines()
    tables = re.findall(r"(?:^\|.*\n)+", "\n".join(lines) + "\n", re.MULTILINE)[: TABLES[name]]
    about = [line for line in lines if re.match(r"- (Command|Commit|Machine): ", line)]
    link = f"[{found.name}](../{found.as_posix()})" if not found.is_absolute() else found.name
    return "\n".join(["\n".join(tables), *about, f"- All of it: {link}"])


def filled(text: str, folder: Path = report.OUT) -> str:
    """The document with what has been measured in its places.

    Raises:
        ValueError: for a place that is no result's, or has no end.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name != "flop" and name not in TABLES:
            raise ValueError(f"Expected a place to be named flop or one of {', '.join(TABLES)}. Received: {name!r}.")
        content = flop_table() if name == "flop" else measured(name, folder)
        return f"<!-- {name} -->\n{content}\n<!-- end of {name} -->"

    begun = len(re.findall(r"^<!-- (?!end of)\w+ -->$", text, re.MULTILINE))
    done, count = re.subn(r"^<!-- (\w+) -->\n.*?^<!-- end of \1 -->$", fill, text, flags=re.MULTILINE | re.DOTALL)
    if count != begun:
        raise ValueError(f"Expected an end for each of {begun} places. Received: {count}.")
    return done


def main() -> None:
    """Fills the document."""
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {DOCUMENT}")


if __name__ == "__main__":
    main()
