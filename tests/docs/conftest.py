"""Documentation that registers layer types does so for its own test only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def layer_types_as_before() -> Iterator[None]:
    """Forgets the layer types that an example registers, which later tests in this process would see."""
    from lth_keras.layers import MASKED_LAYERS, PLAIN_LAYERS, PRUNABLE, REGISTERED

    tables = (PRUNABLE, MASKED_LAYERS, PLAIN_LAYERS, REGISTERED)
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()  # type: ignore[attr-defined]
        table.update(entries)  # type: ignore[attr-defined]
