"""Flags of version 0.1 that `--engine` replaces; accepted until 0.3."""

from __future__ import annotations

from collections.abc import Sequence

FLAGS = {"--compact": "compact", "--fused": "native"}


def with_engine(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Replaces older flags by `--engine`.

    Args:
        arguments: of the command line.

    Returns:
        The new arguments, with `--engine` last, and the older flags; empty if there are none.
    """
    kept: list[str] = []
    older: list[str] = []
    chosen: dict[str, bool] = {}
    batch = ""
    left = [part for argument in arguments for part in _apart(argument)]
    while left:
        argument = left.pop(0)
        positive = argument.replace("--no-", "--", 1)
        if positive in FLAGS:
            older.append(argument)
            chosen[FLAGS[positive]] = positive == argument  # the last one counts
        elif argument == "--vectorize" and left and not left[0].startswith("--"):
            tickets = left.pop(0)
            older.append(f"{argument} {tickets}")
            batch = "" if tickets in ("auto", "off", "1") else f"batched:{tickets}"
        else:
            kept.append(argument)
    if not older:
        return list(arguments), ""
    engines = [name for name in FLAGS.values() if chosen.get(name)]
    engine = batch or ":".join(engines)
    if not engine and not chosen:  # one ticket at a time, which `auto` is but on a GPU, and an experiment's own default
        return kept, " ".join(older)
    return [*kept, "--engine", engine or "auto"], " ".join(older)


def _apart(argument: str) -> list[str]:
    name, sign, value = argument.partition("=")
    return [name, value] if sign and name == "--vectorize" else [argument]
