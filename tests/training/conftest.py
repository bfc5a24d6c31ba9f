"""A loaded network, and a mask of half of its weights."""

from __future__ import annotations

import numpy as np
import pytest

from lth_keras.mask import Mask
from lth_keras.pruning.ranking import keep_highest
from lth_keras.training.network import Network
from tests import tiny
from tests.tiny import network_of


@pytest.fixture(scope="module")
def network() -> Network:
    made = network_of()
    made.load(tiny.data())
    return made


@pytest.fixture(scope="module")
def mask(network: Network) -> Mask:
    """Half of the weights of each layer, at random positions."""
    generator = np.random.default_rng(0)
    scores = {key: generator.random(shape) for key, shape in network.mask.shapes.items()}
    keep = {key: size // 2 for key, size in network.mask.sizes.items()}
    return keep_highest(scores, Mask.ones(network.mask.shapes), keep, generator=generator)
