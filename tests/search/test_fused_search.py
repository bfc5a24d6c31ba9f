"""Searches with the fused kernel: the same tickets, resumed to the same bits, on smaller networks too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lth_keras import backends
from lth_keras.search.search import TicketSearch
from tests import tiny

BRANCHES = ("winning_ticket", "random_reinit")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in tests/training/test_fused.py."""
    monkeypatch.setattr(backends, "_threads", 1)


def search_of(**changes: Any) -> TicketSearch:
    return tiny.make(**{"levels": 3, "fused": True, "jit_compile": None, **changes})


@pytest.mark.slow
def test_a_search_finds_the_same_tickets(tmp_path: Path) -> None:
    plain, fused = (search_of(fused=fused).run(1, BRANCHES, out=tmp_path) for fused in (False, True))
    for branch in BRANCHES:
        assert tiny.masks_of(fused, 0, branch, 3) == tiny.masks_of(plain, 0, branch, 3)
    for name in ("validation_loss", "train_loss"):
        np.testing.assert_allclose(fused.dataset[name], plain.dataset[name], rtol=2e-3, atol=1e-4)


def test_a_run_says_that_it_is_fused() -> None:
    assert search_of().identity == {**search_of(fused=False).identity, "fused": True}


@pytest.mark.slow
def test_it_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    whole = search_of().run(2, BRANCHES, out=tmp_path / "whole")
    search_of(levels=1).run(1, BRANCHES, out=tmp_path / "parts")
    parts = search_of().run(2, BRANCHES, out=tmp_path / "parts")
    tiny.assert_same_bits(parts, whole)


def test_smaller_networks_are_trained_by_it_too(tmp_path: Path) -> None:
    search = search_of(compact=True, rates=0.7)
    whole = search_of(rates=0.7).run(1, out=tmp_path)
    small = search.run(1, out=tmp_path)
    assert search._workshop.compact(search.network)._made
    np.testing.assert_allclose(small.dataset.train_loss, whole.dataset.train_loss, rtol=2e-3, atol=1e-4)


def test_tickets_are_not_trained_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Expected vectorize=1 with fused"):
        search_of(vectorize=2).run(2, out=tmp_path)


def test_a_variant_can_be_fused(tmp_path: Path) -> None:
    run = search_of(fused=False, variants={"kernel": {"fused": True}}).run(
        1, ("winning_ticket", "kernel"), out=tmp_path
    )
    losses = run.dataset.train_loss
    np.testing.assert_allclose(losses.sel(branch="kernel"), losses.sel(branch="winning_ticket"), rtol=2e-3, atol=1e-4)
    assert (losses.sel(branch="kernel", level=0) != losses.sel(branch="winning_ticket", level=0)).any()
