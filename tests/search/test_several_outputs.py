"""Searches on models with several inputs and outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lth_keras.search.search import TicketSearch
from tests import several
from tests.tiny import assert_same_bits, final_weights, make, masks_of


def search_of(**changes: Any) -> TicketSearch:
    given = {"build": several.build, "data": several.data(), "loss": several.LOSS, "rates": 0.3, "steps": 10}
    return make(**{**given, "metric": several.METRIC, "loss_weights": several.WEIGHTS, **changes})


def test_a_search_is_the_same_when_it_is_resumed(tmp_path: Path) -> None:
    first = search_of(levels=1, criterion="snip", samples_per_class=3)
    first.run(out=tmp_path / "a", keep_weights="all")
    search = search_of(criterion="snip", samples_per_class=3, data=several.data(list))  # the same run
    search.network = first.network
    run = search.run(out=tmp_path / "a", keep_weights="all")
    assert len(list((tmp_path / "a").iterdir())) == 1
    whole = search.run(out=tmp_path / "b", keep_weights="all")
    assert_same_bits(run, whole)
    assert run.dataset.attrs["metric"] == "accuracy"
    for level, mask in enumerate(masks_of(run, 0, "winning_ticket", 2)):
        weights = final_weights(run, 0, "winning_ticket" if level else "dense", level)
        assert all((weights[key][~kept] == 0).all() for key, kept in mask.items())
        assert mask.density == pytest.approx(0.7**level, abs=0.02)
    outputs = run.ticket(level=2, weights="final")([several.data()["test"][0][name] for name in several.INPUTS])
    assert [tuple(part.shape) for part in outputs] == [(30, 1), (30, 3)]


def test_losses_and_their_weights_name_the_run() -> None:
    plain = search_of(loss_weights=None).identity
    assert "loss_weights" not in plain and plain["loss"] == ["mse", "sparse_categorical_crossentropy"]
    assert search_of().identity["loss_weights"] == [2.0, 0.5]
    in_order = search_of(
        data=several.data(tuple),
        loss=["mse", "sparse_categorical_crossentropy"],
        loss_weights=[2, 0.5],
    )
    assert in_order.identity == search_of().identity
    assert search_of(metric={"size": None}).identity != search_of().identity
    other = several.data()
    other["train"][0]["word"] = other["train"][0]["word"][::-1]
    assert search_of(data=other).identity["data"] != search_of().identity["data"]


def test_a_validation_split_may_be_left_out(tmp_path: Path) -> None:
    splits = {name: part for name, part in several.data().items() if name != "validation"}
    run = search_of(levels=0, data={**splits, "without_validation": True}).run(out=tmp_path)
    assert np.isnan(run.dataset.validation_loss).all()


def test_what_several_outputs_do_not_have(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class_weight=None for a model with several outputs.*sample_weight"):
        search_of(class_weight={0: 2.0}).run(out=tmp_path)
    with pytest.raises(ValueError, match="Expected engine='compiled' for a model with 2 inputs and 2 outputs"):
        search_of(engine="compact", jit_compile=None).run(out=tmp_path)
    with pytest.raises(ValueError, match=r"Split 'train': Expected x as an array. Received: None"):
        search_of(data={**several.data(), "train": ({"word": None, "wide": None}, [])})
