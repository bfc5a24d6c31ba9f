"""An experiment for tests, and its command within this process."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest
import tyro

from experiments import (
    command,
)
from experiments.flags import Length
from experiments.options import Options
from lth_keras.search.search import TicketSearch
from lth_keras.training.network import Network
from tests import tiny


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """An experiment for these tests."""

    trials: int = 2
    levels: int = 1
    steps: Length = 20
    rate: float = 0.3


def make_search(network: Network | None, config: Config, threads: int) -> TicketSearch:
    cadence = {
        "batch_size": config.batch_size,
        "evaluate_every": config.evaluate_every,
        "test_every": config.test_every,
    }
    search = tiny.make(
        network,
        name="tiny",
        config=config.identity(),
        rates=config.rate,
        levels=config.levels,
        steps=config.steps,
        epochs=config.epochs,
        criterion=config.criterion,
        seed=config.seed,
        threads=threads,
        **cadence,
    )
    return search


def run(monkeypatch: pytest.MonkeyPatch, make: Any, *arguments: str, config: Any = Config) -> None:
    monkeypatch.setattr(sys, "argv", ["tiny", *arguments])
    command.main(config, make, "tiny")


def parsed(config: Any, *arguments: str) -> Any:
    return tyro.cli(config, args=arguments)
