"""Flags of version 0.1 choose the engine that `--engine` names now."""

from __future__ import annotations

import pytest

from experiments.older_flags import with_engine


@pytest.mark.parametrize(
    ("arguments", "engine"),
    [
        ("--compact", "compact"),
        ("--no-compact", "auto"),
        ("--fused", "native"),
        ("--no-fused", "auto"),
        ("--vectorize 6", "batched:6"),
        ("--compact --no-compact", "auto"),
        ("--fused --vectorize off", "native"),
        ("--fused --compact", "compact:native"),
        ("--compact --fused", "compact:native"),
        ("--no-compact --fused", "native"),
        ("--compact --no-fused", "compact"),
        ("--no-compact --vectorize 3", "batched:3"),
        ("--no-fused --no-compact --vectorize auto", "auto"),
    ],
)
def test_an_older_flag_is_an_engine(arguments: str, engine: str) -> None:
    received, older = with_engine(["--trials", "2", *arguments.split(), "--levels", "3"])
    assert received == ["--trials", "2", "--levels", "3", "--engine", engine]
    assert older == arguments


@pytest.mark.parametrize("tickets", ["1", "off", "auto"])
def test_one_ticket_at_a_time_chooses_no_engine(tickets: str) -> None:
    assert with_engine(["--vectorize", tickets, "--trials", "2"]) == (["--trials", "2"], f"--vectorize {tickets}")


def test_a_value_may_follow_an_equals_sign() -> None:
    assert with_engine(["--vectorize=6"]) == (["--engine", "batched:6"], "--vectorize 6")


@pytest.mark.parametrize("arguments", [[], ["--trials=2", "--out", "a=b"], ["--vectorize"], ["--engine", "native"]])
def test_other_arguments_are_left_as_they_are(arguments: list[str]) -> None:
    assert with_engine(arguments) == (arguments, "")


@pytest.mark.parametrize("value", ["--fused", "--compact", "--vectorize"])
def test_a_value_that_looks_like_a_flag_is_no_flag(value: str) -> None:
    assert with_engine([f"--out={value}", "--fused"]) == ([f"--out={value}", "--engine", "native"], "--fused")
