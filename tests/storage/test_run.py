"""run.h5: the fixed names, dimensions and attributes, for xarray and for plain h5py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray
from sklearn.metrics import recall_score

from lth_keras.analysis import CURVES, SCALARS, metric_name
from lth_keras.analysis.schema import MEANING
from lth_keras.mask import Mask
from lth_keras.storage import DamagedFile, assemble, open_run, write_run
from tests.synthetic import BRANCHES, CREATED, SHAPES, dataset, level_result, levels_of

ATTRIBUTES: dict[str, Any] = {
    "experiment": "x",
    "config": {"a": [1]},
    "versions": {"p": "1"},
    "created": CREATED,
}


def test_names_dimensions_and_types() -> None:
    run = dataset(trials=2, levels=3)
    assert dict(run.sizes) == {"trial": 2, "branch": 3, "level": 4, "step": 61, "weight": 3}
    for name in SCALARS:
        assert run[name].dims == ("trial", "branch", "level") and run[name].dtype == np.float64
    for name in CURVES:
        assert run[name].dims == ("trial", "branch", "level", "step")
        assert run[name].dtype == np.float32
    assert run.weight_density.dims == ("trial", "branch", "level", "weight")
    for variable in run.variables.values():
        assert variable.attrs["long_name"] and variable.attrs["units"]
    assert tuple(run.branch.values) == BRANCHES and tuple(run.weight.values) == tuple(SHAPES)


def test_every_number_is_at_its_place() -> None:
    run = dataset(trials=2, levels=3)
    for result in levels_of(trials=2, levels=3):
        for branch in BRANCHES if result.level == 0 else [result.branch]:
            cell = run.sel(trial=result.seed, branch=branch, level=result.level)
            for name in SCALARS:
                assert float(cell[name]) == result.scalars[name]
            for name in CURVES:
                np.testing.assert_array_equal(cell[name].values, result.curves[name])
            assert dict(zip(run.weight.values, cell.weight_density.values, strict=True)) == (result.mask.densities())


def test_the_order_of_levels_does_not_matter() -> None:
    results = list(levels_of(trials=2, levels=2))
    xarray.testing.assert_identical(assemble(results, **ATTRIBUTES), assemble(reversed(results), **ATTRIBUTES))


def test_branch_order_is_fixed_and_others_follow_sorted() -> None:
    names = ("zeta", "random_mask", "alpha", "winning_ticket")
    run = dataset(trials=1, levels=1, branches=names)
    assert list(run.branch.values) == ["winning_ticket", "random_mask", "alpha", "zeta"]


def test_only_the_dense_level_is_a_winning_ticket() -> None:
    run = assemble([level_result(5, level=0)], **ATTRIBUTES)
    assert list(run.branch.values) == ["winning_ticket"] and list(run.level.values) == [0]
    assert float(run.density.sel(trial=5, branch="winning_ticket", level=0)) == 1.0


def test_what_is_not_finished_is_nan() -> None:
    results = [level_result(0, level=0), level_result(0, level=2), level_result(1, "b", 1)]
    run = assemble(results, **ATTRIBUTES)
    assert run.sizes["level"] == 3
    assert int(run.density.notnull().sum()) == 2 + 1 + 1
    assert int(run.train_loss.sel(trial=1, level=2).notnull().sum()) == 0


def test_levels_evaluated_at_different_steps_share_one_axis() -> None:
    results = [level_result(0, level=1, evaluations=4), level_result(0, level=2, evaluations=10)]
    run = assemble(results, **ATTRIBUTES)
    assert list(run.step.values) == sorted({*results[0].step, *results[1].step})
    curve = run.validation_loss.sel(trial=0, branch="winning_ticket", level=1)
    np.testing.assert_array_equal(curve.sel(step=results[0].step).values, results[0].curves["validation_loss"])
    assert int(curve.notnull().sum()) == results[0].step.size


def test_no_levels_and_levels_of_other_models_are_refused() -> None:
    other = Mask({"elsewhere/kernel": np.ones(3, bool)})
    with pytest.raises(ValueError, match="at least one finished level"):
        assemble([], **ATTRIBUTES)
    with pytest.raises(ValueError, match="elsewhere/kernel.*seed 1"):
        assemble([level_result(0), level_result(1, mask=other, next_mask=other)], **ATTRIBUTES)


def test_a_written_run_comes_back(tmp_path: Path) -> None:
    run = dataset()
    write_run(tmp_path / "run.h5", run)
    for path in (tmp_path, tmp_path / "run.h5", str(tmp_path)):
        xarray.testing.assert_identical(open_run(path), run)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_the_file_is_closed_after_reading(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", dataset(trials=1))
    run = open_run(tmp_path)
    write_run(tmp_path / "run.h5", dataset(trials=2))
    assert float(run.density.max()) == 1.0 and open_run(tmp_path).sizes["trial"] == 2


def test_plain_h5py_reads_everything(tmp_path: Path) -> None:
    run = dataset(trials=2, levels=2, branches=("winning_ticket", "épouvantail"))
    write_run(tmp_path / "run.h5", run)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["branch"].asstr()[:].tolist() == ["winning_ticket", "épouvantail"]
        assert file["weight"].asstr()[:].tolist() == list(SHAPES)
        np.testing.assert_array_equal(file["density"][:], run.density.values)
        np.testing.assert_array_equal(file["trial"][:], [0, 1])
        assert file["density"].attrs["units"] == "1"
        assert file.attrs["schema_version"].tolist() == [1]  # netCDF has no scalar attributes
        assert file.attrs["experiment"] == "synthetic" and file.attrs["created"] == CREATED
        assert json.loads(file.attrs["config"])["steps"] == 20_000
        assert json.loads(file.attrs["versions"]) == {"python": "3.11"}


def test_a_missing_run_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run.h5"):
        open_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_run(tmp_path / "nowhere")


def test_truncated_and_foreign_files_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", dataset())
    content = (tmp_path / "run.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "empty.h5").write_bytes(b"")
    xarray.Dataset({"x": 1}).to_netcdf(tmp_path / "foreign.h5", engine="h5netcdf")
    xarray.Dataset({"x": 1}, attrs={"schema_version": 1}).to_netcdf(tmp_path / "other.h5", engine="h5netcdf")
    for name in ("cut.h5", "text.h5", "empty.h5", "foreign.h5", "other.h5"):
        with pytest.raises(DamagedFile, match=name):
            open_run(tmp_path / name)


def test_a_newer_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", dataset().assign_attrs(schema_version=3))
    with pytest.raises(ValueError, match="Expected: schema_version of .*1, 2.* Received: 3"):
        open_run(tmp_path)


def test_confusion_matrices_and_what_follows_from_them_come_back(tmp_path: Path) -> None:
    results = list(levels_of(trials=2, levels=2, evaluations=10, classes=4))
    write_run(tmp_path / "run.h5", assemble(results, **ATTRIBUTES))
    run = open_run(tmp_path)
    assert run.test_confusion.dtype == np.int32
    assert run.test_confusion.dims == ("trial", "branch", "level", "step", "true", "predicted")
    for result in results:
        for branch in run.branch.values if result.level == 0 else [result.branch]:
            cell = run.sel(trial=result.seed, branch=branch, level=result.level)
            np.testing.assert_array_equal(cell.test_confusion, result.test_confusion)
    evaluated = np.isfinite(run.test_accuracy)
    assert bool(((run.test_confusion >= 0).all(("true", "predicted")) == evaluated).all())
    for name in [name for name in MEANING if name.endswith(("_macro", "_micro"))]:
        assert run[name].dtype == np.float32 and bool((np.isfinite(run[name]) == evaluated).all())
    matrix = run.test_confusion.values[0, 0, 1, 5]
    true, predicted = (np.repeat(index.ravel(), matrix.ravel()) for index in np.indices(matrix.shape))
    expected = recall_score(true, predicted, average="macro")
    assert float(run.test_recall_macro[0, 0, 1, 5]) == pytest.approx(expected)
    with h5py.File(tmp_path / "run.h5") as file:
        assert file["test_confusion"].compression == "gzip"


def test_averages_say_what_they_average_over() -> None:
    run = dataset(trials=1, levels=1, classes=4)
    for name in ("test_precision_micro", "test_recall_micro", "test_f1_micro"):
        assert "equals the accuracy" in run[name].attrs["comment"]
    for name in ("test_precision_macro", "test_recall_macro", "test_f1_macro"):
        assert run[name].attrs["comment"] == "mean over all 4 classes"
    assert all("comment" not in run[name].attrs for name in run.data_vars if "accuracy" in name)
    assert metric_name(run) == "accuracy"


@pytest.mark.parametrize("validated", [True, False])
def test_multi_label_runs_count_by_class_and_have_micro_f1_under_its_name(tmp_path: Path, validated: bool) -> None:
    results = list(levels_of(trials=2, levels=1, evaluations=10, classes=6, multi_label=True, validated=validated))
    for result in results:
        assert result.test_counts is not None
        result.test_counts[:, 5, 0] = result.test_counts[:, 5, 2] = np.minimum(0, result.test_counts[:, 5, 2])
    write_run(tmp_path / "run.h5", assemble(results, **ATTRIBUTES))
    run = open_run(tmp_path)
    assert run.test_counts.dims == ("trial", "branch", "level", "step", "label", "outcome")
    assert run.test_counts.dtype == np.int32 and "test_confusion" not in run
    assert run.outcome.values.tolist() == ["true_positive", "false_positive", "false_negative"]
    for result in results:
        for branch in run.branch.values if result.level == 0 else [result.branch]:
            cell = run.sel(trial=result.seed, branch=branch, level=result.level)
            np.testing.assert_array_equal(cell.test_counts, result.test_counts)
    right, wrong, missed = (run.test_counts.sel(outcome=name).where(lambda x: x >= 0) for name in run.outcome.values)
    f1 = (2 * right / (2 * right + wrong + missed)).fillna(0).mean("label").where(np.isfinite(run.test_micro_f1))
    np.testing.assert_allclose(run.test_f1_macro, f1, rtol=1e-6)
    assert metric_name(run) == "micro_f1"
    assert not any("accuracy" in str(name) for name in run.data_vars)
    for name in (name for name in run.data_vars if "micro_f1" in str(name)):
        assert "micro-F1" in run[name].attrs["long_name"] and "2 TP / (2 TP + FP + FN)" in run[name].attrs["comment"]
        assert "accuracy" not in run[name].attrs["long_name"]
    assert ("last step" in run.test_micro_f1_at_early_stop.attrs["comment"]) == (not validated)
    comment = "mean over all 6 classes; 1 of them have no test example and count as 0"
    assert run.test_f1_macro.attrs["comment"] == comment
    assert run.test_f1_micro.attrs["comment"] == "over all classes"
    with pytest.raises(ValueError, match="one metric. Received: .*'accuracy', 'micro-F1'"):
        assemble([level_result(0, level=0), results[1]], **ATTRIBUTES)


def test_levels_without_confusion_matrices_stand_beside_those_with(tmp_path: Path) -> None:
    run = assemble([level_result(0, level=0), level_result(0, level=1, classes=3)], **ATTRIBUTES)
    assert (run.test_confusion.sel(level=0) == -1).all() and (run.test_confusion.sel(level=1) >= 0).any()
    assert "test_confusion" not in dataset() and "true" not in dataset().dims
    with pytest.raises(ValueError, match=r"one number of classes. Received: .*\(3, 3\), \(4, 4\)"):
        assemble([level_result(0, level=0, classes=4), level_result(0, level=1, classes=3)], **ATTRIBUTES)


def test_a_run_without_a_validation_split_says_what_its_early_stop_is(tmp_path: Path) -> None:
    write_run(tmp_path / "run.h5", dataset(trials=1, levels=1, validated=False))
    run = open_run(tmp_path)
    for name in ("early_stop_step", "test_accuracy_at_early_stop"):
        assert run[name].attrs["comment"] == "no validation split: the last step is taken for it"
        assert "comment" not in dataset()[name].attrs


def test_a_run_of_an_earlier_version_is_read() -> None:
    """Made before there were confusion matrices."""
    run = open_run(Path(__file__).parents[2] / "results" / "mnist_lenet_fcn")
    assert run.sizes["trial"] == 5 and "test_confusion" not in run
