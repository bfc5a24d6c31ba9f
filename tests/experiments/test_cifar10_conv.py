"""The convolutional experiment's defaults are the paper's (figure 2), and its search is small-scale sound."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tyro

from datasets import cifar10
from experiments import cifar10_conv
from experiments.cifar10_conv import Config


@pytest.mark.parametrize(
    ("network", "steps", "learning_rate", "conv_rate"),
    [("conv_2", 20_000, 2e-4, 0.1), ("conv_4", 25_000, 3e-4, 0.1), ("conv_6", 30_000, 3e-4, 0.15)],
)
def test_defaults_are_the_papers(network: str, steps: int, learning_rate: float, conv_rate: float) -> None:
    config = tyro.cli(Config, args=["--network", network])
    assert (config.steps, config.learning_rate, config.conv_rate) == (steps, learning_rate, conv_rate)
    assert (config.epochs, config.dense_rate, config.output_rate, config.batch_size) == (None, 0.2, 0.1, 60)


def test_what_is_given_beats_the_paper() -> None:
    config = tyro.cli(Config, args="--network conv_2 --epochs 3 --learning-rate 0.01 --conv-rate 0.3".split())
    assert (config.steps, config.epochs, config.learning_rate, config.conv_rate) == (None, 3, 0.01, 0.3)
    assert tyro.cli(Config, args=["--steps", "7"]).steps == 7


def test_the_search_has_the_networks_rates_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cifar10, "load", lambda seed: asked.append(seed))
    search = cifar10_conv.make_search(Config(network="conv_4"), 1)
    assert search.rates == {"dense": 0.2, "conv": 0.1, "output": 0.1}
    assert search.build().name == "conv_4"
    assert np.isclose(keras.ops.convert_to_numpy(search.optimizer().learning_rate), 3e-4)
    search.data(5)
    assert asked == [5]
    assert search.identity == Config(network="conv_4").identity()
