"""The convolutional experiments' defaults are the paper's (figure 2), and their searches are of their networks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tyro

from datasets import cifar10
from experiments import cifar10_conv2, cifar10_conv4, cifar10_conv6
from experiments.cifar10_convolutional import make_search

CONFIGS = {"conv_2": cifar10_conv2.Config, "conv_4": cifar10_conv4.Config, "conv_6": cifar10_conv6.Config}


@pytest.mark.parametrize(
    ("network", "steps", "learning_rate", "conv_rate"),
    [("conv_2", 20_000, 2e-4, 0.1), ("conv_4", 25_000, 3e-4, 0.1), ("conv_6", 30_000, 3e-4, 0.15)],
)
def test_defaults_are_the_papers(network: str, steps: int, learning_rate: float, conv_rate: float) -> None:
    config: Any = tyro.cli(CONFIGS[network], args=[])
    assert (config.steps, config.learning_rate, config.conv_rate) == (steps, learning_rate, conv_rate)
    assert (config.epochs, config.dense_rate, config.output_rate, config.batch_size) == (None, 0.2, 0.1, 60)
    assert (config.levels, config.trials, config.network) == (25, 5, network)


def test_what_is_given_beats_the_paper() -> None:
    config = tyro.cli(cifar10_conv6.Config, args="--epochs 3 --learning-rate 0.01 --conv-rate 0.3".split())
    assert (config.steps, config.epochs, config.learning_rate, config.conv_rate) == (None, 3, 0.01, 0.3)


@pytest.mark.parametrize("network", CONFIGS)
def test_the_search_has_the_networks_rates_and_data(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(cifar10, "load", lambda seed: asked.append(seed))
    config = CONFIGS[network]()
    search = make_search(config, 1)
    assert search.pruning.rates == {"dense": 0.2, "conv": config.conv_rate, "output": 0.1}
    assert search.build().name == network and search.name == f"cifar10_{network.replace('_', '')}"
    assert np.isclose(keras.ops.convert_to_numpy(search.optimizer().learning_rate), config.learning_rate)
    search.data(5)
    assert asked == [5]
    assert search.identity == config.identity() and search.identity["network"] == network
