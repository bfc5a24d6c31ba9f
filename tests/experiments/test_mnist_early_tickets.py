"""Early tickets: which weights a branch's masks are of, and what names its run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.mnist_early_tickets import Config, make_search
from lth_keras.plots import figures_of, save_figures
from tests import tiny


def test_a_branch_scores_the_weights_after_its_epochs() -> None:
    config = Config(mask_epochs=(0, 3, 15))
    assert config.variants == {
        "epoch_00": {"score_at": 0},
        "epoch_03": {"score_at": 2748},
        "epoch_15": {"score_at": 13740},
    }
    assert config.asked_branches() == ("winning_ticket", "epoch_00", "epoch_03", "epoch_15")
    assert len(Config().variants) == 16 and Config().levels == 15 and Config().steps == 20_000


@pytest.mark.parametrize(
    "changes", [{"mask_epochs": (22,)}, {"mask_epochs": (-1,)}, {"epochs": 3, "mask_epochs": (4,)}]
)
def test_epochs_beyond_a_training_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Expected --mask-epochs in 0 ... "):
        _ = Config(**changes).variants  # type: ignore[arg-type]


def test_more_epochs_extend_a_run() -> None:
    assert Config(mask_epochs=(1,)).identity() == Config().identity()
    assert Config(batch_size=50).identity() != Config().identity()


@pytest.mark.slow
def test_the_search_runs_and_the_figure_is_drawn(tmp_path: Path) -> None:
    """On data of the tests' own; the steps of an epoch are those of MNIST at this batch size."""
    config = Config(
        trials=2, levels=2, steps=22, batch_size=5500, mask_epochs=(0, 1, 2), evaluate_every=11, test_every=11
    )
    search = make_search(config, threads=None).changed(build=tiny.build, data=tiny.data(), batch_size=10, threads=None)
    dataset = search.run(2, config.asked_branches(), tmp_path).dataset
    np.testing.assert_array_equal(dataset.score_at, [np.nan, 0, 10, 20])
    assert {"early_tickets_accuracy", "early_tickets"} <= set(figures_of(dataset))
    for path in save_figures(dataset, tmp_path / "figures", ("svg",)):
        assert path.stat().st_size > 10_000
    overlap = dataset.mask_overlap.sel(level=2)  # two steps after epoch 2 a training ends
    assert (overlap.sel(branch="epoch_00") < overlap.sel(branch="epoch_02")).all()
