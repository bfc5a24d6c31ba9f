"""Which cases of a matrix `make test` runs; `make test-all` runs all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def few(names: str | Sequence[str], cases: Iterable[Any], *quick: Any, **options: Any) -> pytest.MarkDecorator:
    """As `pytest.mark.parametrize`, with all cases but the quick ones marked slow."""
    given = list(cases)
    assert quick and all(case in given for case in quick), "a quick case that there is not"
    one = isinstance(names, str) and "," not in names
    marked = [
        pytest.param(*([case] if one else case), marks=() if case in quick else pytest.mark.slow) for case in given
    ]
    return pytest.mark.parametrize(names, marked, **options)
