"""A whole run that searches are compared with, and its compiled network."""

from __future__ import annotations

import pytest

from lth_keras.search.run import Run
from lth_keras.training.network import Network
from tests.search.whole import LEVELS, SEEDS
from tests.tiny import ALL, make


@pytest.fixture(scope="session")
def network() -> Network:
    """One compiled network for all searches of this folder."""
    return make().network


@pytest.fixture(scope="session")
def run(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two trials, three levels, all branches, never interrupted, all weights kept."""
    search = make(network, levels=LEVELS)
    return search.run(len(SEEDS), ALL, tmp_path_factory.mktemp("run"), keep_weights="all")
