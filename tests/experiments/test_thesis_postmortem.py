"""The post-mortem: that each protocol has the causes that it says, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import keras
import pytest

from datasets import mnist
from experiments.thesis_postmortem import CAUSES, PROTOCOLS, Config, Protocol, make_search
from lth_keras.search.search import TicketSearch
from tests import tiny


def causes(search: TicketSearch, scaled: list[bool]) -> set[str]:
    """What a branch's search does otherwise than the paper, by what it would do."""
    search.data(0)
    rate = search.optimizer().get_config()["learning_rate"]
    assert isinstance(search.pruning.rates, dict) and search.pruning.rates["dense"] == 0.2
    found = {
        "initial_masks": search.pruning.criterion == "initial_magnitude",
        "raw_pixels": not scaled.pop(),
        "one_optimiser": search.training.carry_step_count,
        "full_output": search.pruning.rates["output"] == 0.2,
        "slow": rate == pytest.approx(1.2e-4),
    }
    assert found["slow"] or rate == pytest.approx(1.2e-3)
    assert search.pruning.criterion in ("magnitude", "initial_magnitude") and search.pruning.rates["output"] in (
        0.1,
        0.2,
    )
    return {name for name, there in found.items() if there}


def test_protocols_have_their_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[bool] = []
    monkeypatch.setattr(mnist, "load", lambda *, seed, scaled=True, into=scaled: into.append(scaled))
    search = make_search(Config(), threads=1)
    assert causes(search, scaled) == set()
    assert causes(search.search_of("thesis"), scaled) == set(CAUSES) and len(CAUSES) == 4
    for protocol in get_args(Protocol):
        assert causes(search.search_of(protocol), scaled) == set(PROTOCOLS[protocol])
    corrected = {next(iter(set(CAUSES) - set(PROTOCOLS[name]))) for name in PROTOCOLS if len(PROTOCOLS[name]) == 3}
    alone = {PROTOCOLS[name][0] for name in PROTOCOLS if len(PROTOCOLS[name]) == 1}
    assert corrected == set(CAUSES) and alone == {*CAUSES, "slow"}


def test_more_protocols_extend_a_run() -> None:
    assert Config(protocols=("thesis",)).identity() == Config().identity()
    assert Config(dense_rate=0.3).identity() != Config().identity()
    assert Config(protocols=("only_slow",)).asked_branches() == ("winning_ticket", "only_slow")


@pytest.mark.slow
def test_the_search_runs_under_every_protocol(tmp_path: Path) -> None:
    """On data of the tests' own, and raw pixels as ten times those."""
    config = Config(trials=1, levels=1, steps=20, evaluate_every=10, test_every=10)
    made = make_search(config, threads=1)
    data = {name: (10 * x, y) for name, (x, y) in tiny.data().items()}
    variants: dict[str, dict[str, Any]] = {
        name: {**changes, "data": data} if "data" in changes else dict(changes)
        for name, changes in made.variants.items()
    }
    search = made.changed(
        build=tiny.build, data=tiny.data(), batch_size=10, threads=None, variants=variants, test_every=10
    )
    dataset = search.run(1, config.asked_branches(), tmp_path).dataset
    final = dataset.test_loss.isel(trial=0, level=1, step=-1)
    # At level 0 the criterion, the output's rate and the count of updates have not come in yet.
    dense = dataset.test_loss.isel(trial=0, level=0, step=-1)
    assert len({float(dense.sel(branch=name)) for name in ("winning_ticket", "only_initial_masks")}) == 1
    assert float(dense.sel(branch="only_one_optimiser")) == float(dense.sel(branch="winning_ticket"))
    assert len({float(final.sel(branch=name)) for name in ("winning_ticket", "thesis", "only_one_optimiser")}) == 3
    assert keras.backend.backend() in dataset.attrs["versions"]
