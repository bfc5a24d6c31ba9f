"""The history of a training shows each split's curves by epoch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.axes import Axes

from lth_keras.plots import history_figure
from tests.synthetic import dataset


def curve_of(axes: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    line = next(line for line in axes.get_lines() if line.get_label() == label)
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def labels_of(axes: Axes) -> list[str]:
    return [str(line.get_label()) for line in axes.get_lines() if not str(line.get_label()).startswith("_")]


def test_lines_are_means_by_epoch_where_evaluated() -> None:
    run = dataset(trials=3, levels=1, evaluations=20, steps_per_epoch=500)
    loss, accuracy = history_figure(run).axes
    assert labels_of(loss) == ["training", "validation", "test"] and labels_of(accuracy) == ["validation", "test"]
    cell = run.sel(level=0, branch="winning_ticket")
    for axes, label, values in (
        (loss, "training", cell.train_loss),
        (loss, "validation", cell.validation_loss),
        (loss, "test", cell.test_loss),
        (accuracy, "validation", 100 * cell.validation_accuracy),
        (accuracy, "test", 100 * cell.test_accuracy),
    ):
        mean = values.mean("trial").dropna("step")
        x, y = curve_of(axes, label)
        np.testing.assert_allclose(x, mean.step / 500)
        np.testing.assert_allclose(y, mean, rtol=1e-6)
    assert loss.get_xlabel() == accuracy.get_xlabel() == "epoch"
    (stop,) = {float(np.asarray(line.get_xdata())[0]) for line in loss.get_lines() if len(line.get_xdata()) == 2}
    assert stop == pytest.approx(float(cell.early_stop_step.mean()) / 500)


def test_a_level_of_a_branch_by_step() -> None:
    run = dataset(trials=1, levels=2)
    loss, _ = history_figure(run, level=2, branch="random_mask").axes
    x, y = curve_of(loss, "validation")
    np.testing.assert_array_equal(x, run.step)
    np.testing.assert_allclose(y, run.validation_loss.sel(trial=0, level=2, branch="random_mask"))
    assert loss.get_xlabel() == "step" and loss.get_title() == "random mask, 64.1%"


def test_without_a_validation_split_neither_its_curves_nor_an_early_stop_are_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss, accuracy = history_figure(dataset(trials=2, levels=1, validated=False)).axes
    assert labels_of(loss) == ["training", "test"] and len(loss.get_lines()) == 2
    assert labels_of(accuracy) == ["test"]


@pytest.mark.parametrize("changes, received", [({"level": 9}, "9"), ({"branch": "lost"}, "'lost'")])
def test_what_the_run_does_not_have_is_refused(changes: dict[str, object], received: str) -> None:
    with pytest.raises(ValueError, match=f"Expected: .*Received: {received}"):
        history_figure(dataset(trials=1, levels=1), **changes)  # type: ignore[arg-type]
