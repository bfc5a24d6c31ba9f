"""The native kernel on one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lth_keras.training.engines import native


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads wait for each other, which takes long where other tests have the processors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "threads", lambda: 1)
        yield
