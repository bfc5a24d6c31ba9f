"""Tickets: what a training starts from, and the models that a finished search gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lth_keras.search.run import Run
from lth_keras.training.network import Network
from tests import tiny
from tests.few import few
from tests.search.whole import LEVELS, SEEDS
from tests.tiny import ALL, final_weights, make, masks_of


@few("branch", ALL, "random_mask")
@few("level", [0, LEVELS], LEVELS)
def test_a_final_ticket_has_the_test_accuracy_of_run_h5(run: Run, branch: str, level: int) -> None:
    x, y = tiny.data()["test"]
    for seed in SEEDS:
        model = run.ticket(trial=seed, level=level, weights="final", branch=branch)
        accuracy = (np.argmax(model.predict(x, verbose=0), axis=1) == y).mean()
        recorded = float(run.dataset.test_accuracy_final.sel(trial=seed, branch=branch, level=level))
        assert accuracy == pytest.approx(recorded, abs=1e-6)
        assert model.layers[0].kernel_mask.numpy().sum() == round(128 * 0.7**level)


def test_a_rewound_ticket_trains_to_the_final_one(run: Run, network: Network) -> None:
    ticket = run.ticket(trial=1, level=2)
    fresh = make(network)
    trained = fresh.trial_data.loaded(1)
    start = {
        f"{layer.name}/{name}": np.array(getattr(layer, name)) for layer in ticket.layers for name in ("kernel", "bias")
    }
    trained.rewind(start, masks_of(run, 1, "winning_ticket", 2)[2])
    trained.train(20, seed=1, names=("level", 2))
    for key, value in final_weights(run, 1, "winning_ticket", 2).items():
        np.testing.assert_array_equal(trained.weights[key], value)


@few(("keep", "kept"), [("none", []), ("last", [1]), ("all", [0, 1])], ("last", [1]))
def test_weights_are_kept_where_asked(network: Network, tmp_path: Path, keep: str, kept: list[int]) -> None:
    run = make(network, levels=1).run(out=tmp_path, keep_weights=keep)
    for level in (0, 1):
        if level in kept:
            assert set(final_weights(run, 0, "winning_ticket", level)) == set(network.weights)
            run.ticket(trial=0, level=level, weights="final")
        else:
            with pytest.raises(ValueError, match="Final weights were not kept for trial 0, .*retrain=True"):
                run.ticket(trial=0, level=level, weights="final")
    run.ticket(trial=0, level=1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"trial": 5, "level": 0}, "finished level for trial 5, dense, level 0"),
        ({"trial": 0, "level": 9}, "finished level for trial 0, winning_ticket, level 9"),
        ({"trial": 0, "level": -1}, "Expected level to be at least 0. Received: -1"),
        ({"trial": 0, "level": 1, "branch": "lost"}, "finished level for trial 0, lost, level 1"),
        ({"trial": 0.0, "level": 1}, r"Expected trial to be an integer. Received: 0.0 \(float\)"),
        ({"trial": 0, "level": "1"}, "Expected level to be an integer. Received: '1'"),
        ({"trial": 0, "level": 1, "weights": "best"}, "Expected weights to be 'rewound' or 'final'. Received: 'best'"),
    ],
)
def test_tickets_that_are_not_there(run: Run, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run.ticket(**arguments)
