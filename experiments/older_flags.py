"""Flags of version 0.1 that `--engine` replaces; accepted until 0.3."""

from __future__ import annotations

from collections.abc import Sequence

FLAGS = {"--compact": "compact", "--no-compact": "auto", "--fused": "native", "--no-fused": "auto"}


def with_engine(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Replaces older flags by `--engine`.

    Args:
        arguments: of the command line.

    Returns:
        The new arguments, with `--engine` last, and the older flags; empty if there are none.
    """
    kept: list[str] = []
    older: list[str] = []
    engines: list[str] = []
    left = [part for argument in arguments for part in _apart(argument)]
    while left:
        argument = left.pop(0)
        if argument in FLAGS:
            older.append(argument)
            engines.append(FLAGS[argument])
        elif argument == "--vectorize" and left and not left[0].startswith("--"):
            tickets = left.pop(0)
            older.append(f"{argument} {tickets}")
            engines.append({"auto": "auto", "off": "compiled", "1": "compiled"}.get(tickets, f"batched:{tickets}"))
        else:
            kept.append(argument)
    if not older:
        return list(arguments), ""
    chosen = [engine for engine in engines if engine != "auto"] or ["auto"]
    if set(chosen) == {"compact", "native"}:
        chosen = ["compact:native"]
    return [*kept, "--engine", chosen[-1]], " ".join(older)


def _apart(argument: str) -> list[str]:
    name, sign, value = argument.partition("=")
    return [name, value] if sign and name == "--vectorize" else [argument]
