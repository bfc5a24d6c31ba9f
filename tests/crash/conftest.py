"""What is proven of a search is proven for each backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.forks import Forks

HERE = Path(__file__).parent

BACKENDS = ("tensorflow", "jax")


@pytest.fixture(scope="session", params=BACKENDS)
def forks(request: pytest.FixtureRequest) -> Iterator[Forks]:
    """Processes with the backend imported."""
    with Forks(request.param) as forks:
        yield forks


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Marks tests on JAX as slow: they take minutes."""
    for item in items:
        backend = getattr(item, "callspec", None) and item.callspec.params.get("forks")  # type: ignore[attr-defined]
        if item.path.parent == HERE and backend == "jax":
            item.add_marker(pytest.mark.slow)
