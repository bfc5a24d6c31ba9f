"""What a search measures bears its own name in level files, run.h5, tables and exports."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console
from sklearn import metrics

from lth_keras import TicketSearch
from lth_keras.analysis import compare, metric_of
from lth_keras.report import summary_table
from lth_keras.storage import RunDirectory, open_run, read_level
from tests import tiny
from tests.few import few


def regression(**changes: Any) -> TicketSearch:
    """Two levels of a network with one linear output; the target is a line in two features."""

    def build() -> keras.Model:
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(1)])

    data = {name: (x, (3 * x[:, 0] + x[:, 1]).astype(np.float32)) for name, (x, _) in tiny.data().items()}
    options: dict[str, Any] = {"loss": "mse", "optimizer": tiny.adam, "rates": 0.5, "levels": 1, "steps": 20}
    return TicketSearch(build, data, **{**options, "batch_size": 10, "evaluate_every": 10, **changes})


def test_a_regression_has_a_mean_absolute_error_and_no_accuracy(tmp_path: Path) -> None:
    run = regression().run(trials=2, branches=("winning_ticket", "random_reinit"), out=tmp_path, keep_weights="all")
    dataset = run.dataset
    assert not any("accuracy" in str(name) for name in dataset.data_vars)
    assert dataset.attrs["metric"] == "mae" and metric_of(dataset).direction == "lower"
    assert dataset.test_mae_final.attrs["units"] == "label unit"
    x, y = run.search.data["test"]  # type: ignore[attr-defined]
    outputs = np.array(run.ticket(0, 1, "final")(x))
    expected = metrics.mean_absolute_error(y, outputs)
    assert float(dataset.test_mae_final.sel(trial=0, branch="winning_ticket", level=1)) == pytest.approx(
        expected, rel=1e-5
    )
    level = read_level(RunDirectory.load(run.directory.path).level_path(0, "winning_ticket", 1))
    assert level.metric.name == "mae" and "test_mae" in level.curves
    table = Console(file=(text := io.StringIO()), width=100)
    table.print(summary_table(dataset))
    assert "mean absolute error" in text.getvalue() and "%\n" not in text.getvalue().split("early-stop")[1][:20]
    comparison = compare(dataset, densities=[0.5])
    assert comparison.variable == "test_mae_at_early_stop"
    means = [row.mean for row in comparison.rows if row.density < 1]
    assert means == sorted(means)
    frame, curves = run.to_frame(), run.to_frame(curves=True)
    assert len(frame) == 2 * 2 * 2 and {"trial", "branch", "level", "density", "test_mae_final"} <= set(frame)
    assert len(curves) == 2 * len(frame) and "validation_mae" in curves
    np.testing.assert_array_equal(frame.test_mae_final, dataset.test_mae_final.values.ravel())


@pytest.mark.slow
def test_a_metric_of_the_users_own_is_measured_and_named(tmp_path: Path) -> None:
    run = regression(metric=keras.metrics.RootMeanSquaredError()).run(out=tmp_path, keep_weights="all")
    x, y = run.search.data["test"]  # type: ignore[attr-defined]
    expected = metrics.root_mean_squared_error(y, np.array(run.ticket(0, 1, "final")(x)).ravel())
    assert float(run.dataset.test_root_mean_squared_error_final[0, 0, 1]) == pytest.approx(expected, rel=1e-5)
    assert regression(metric="r2").identity["metric"] == "r2" and "metric" not in regression().identity
    plain, named = (RunDirectory.recorded(tmp_path, "search", regression(**o).identity) for o in ({}, {"metric": "r2"}))
    assert plain is None and named is None  # a metric that is asked for is in the run's name


def test_metrics_that_are_no_sums_over_examples_are_computed_over_all_batches() -> None:
    network = tiny.network_of(
        lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, "sigmoid")]),
        loss="binary_crossentropy",
        metric=keras.metrics.AUC(num_thresholds=2000),
        evaluation_batch_size=7,
    )
    data = {name: (x, (y > 0).astype(int)) for name, (x, y) in tiny.data().items()}
    network.load(data)
    network.weights = dict(network.draw_weights(0))
    curves = network.train(20, seed=0)
    x, y = data["test"]
    expected = metrics.roc_auc_score(y, keras.ops.convert_to_numpy(network.model(x)))
    assert network.metric == "auc" and curves.test_metric[-1] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("nonsense", "Expected metric to be 'accuracy'"),
        (keras.metrics.Accuracy(), "share of right predictions"),
        (keras.metrics.MeanSquaredError(name="loss"), "has no other meaning"),
        (keras.metrics.MeanSquaredError(name="accuracy"), "has no other meaning"),
        (lambda y, outputs: keras.ops.reshape(outputs, y.shape[:1] + (7,)), "metric for labels of shape"),
        ("accuracy", "requested: accuracy"),
    ],
)
def test_metrics_that_cannot_be_measured_are_refused_before_training(metric: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        regression(metric=metric).run(out=tmp_path)
    assert not list(tmp_path.glob("*/levels"))


@few(
    ("loss", "activation", "labels"),
    [("binary_crossentropy", "sigmoid", (0, 1)), ("hinge", "tanh", (-1, 1))],
    ("hinge", "tanh", (-1, 1)),
)
def test_outcomes_of_a_yes_or_no_are_counted_two_by_two(loss: str, activation: str, labels: tuple[int, int]) -> None:
    network = tiny.network_of(
        lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, activation)]), loss=loss
    )
    data = {name: (x, np.array(labels)[(y > 0).astype(int)]) for name, (x, y) in tiny.data().items()}
    network.load(data)
    network.weights = dict(network.draw_weights(0))
    curves = network.train(20, seed=0, confusion=True)
    x, y = data["test"]
    predicted = keras.ops.convert_to_numpy(network.model(x)).ravel() > (0.5 if loss != "hinge" else 0.0)
    np.testing.assert_array_equal(curves.test_confusion[-1], metrics.confusion_matrix(y > 0, predicted))


def test_counting_what_is_not_classified_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whose metric is mean absolute error"):
        regression(confusion=True).run(out=tmp_path)
    x = np.zeros((20, 4, 8), np.float32)
    places = TicketSearch(
        lambda: keras.Sequential([keras.Input((4, 8)), keras.layers.Dense(3, "softmax")]),
        dict.fromkeys(("train", "validation", "test"), (x, np.zeros((20, 4), int))),
        optimizer=tiny.adam,
        loss="sparse_categorical_crossentropy",
        rates=0.5,
        levels=1,
        steps=2,
        batch_size=5,
        evaluate_every=1,
        confusion=True,
    )
    with pytest.raises(ValueError, match="every position of an example"):
        places.run(out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_older_run_has_true_names_and_aliases() -> None:
    reuters = Path(__file__).resolve().parents[2] / "results" / "reuters"
    with pytest.warns(FutureWarning, match="names its micro-F1 accuracy. It is read as .*test_micro_f1"):
        run = open_run(reuters)
    assert metric_of(run).name == "micro_f1" and run.test_accuracy.attrs["alias_of"] == "test_micro_f1"
    for name in ("test_{}_at_early_stop", "test_{}_final", "validation_{}", "test_{}"):
        np.testing.assert_array_equal(run[name.format("micro_f1")], run[name.format("accuracy")])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="several tickets are trained at once on JAX only")
def test_a_metric_of_the_users_own_is_measured_of_each_ticket_of_a_batch(tmp_path: Path) -> None:
    runs = []
    for engine in ("compiled", "batched:2"):
        search = regression(metric=keras.metrics.RootMeanSquaredError(), engine=engine)
        runs.append(search.run(trials=2, out=tmp_path / engine))
    alone, batched = (run.dataset.test_root_mean_squared_error_final.values for run in runs)
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(batched, alone, rtol=1e-4)
