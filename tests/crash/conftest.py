"""What is proven of a search is proven for each backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.forks import Forks

BACKENDS = ("tensorflow", "jax")


@pytest.fixture(scope="session", params=BACKENDS)
def forks(request: pytest.FixtureRequest) -> Iterator[Forks]:
    """Processes with the backend imported."""
    with Forks(request.param) as forks:
        yield forks
