"""The study of composites: what its rows are, what names its run, and that all of them run."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments.composite_presets import ABLATION, TOP
from experiments.composite_pruning import Config, make_search
from experiments.composite_rows import all_rows, branch_of, check_rows, described, parameters
from lth_keras.analysis.schedules import schedules_of
from lth_keras.report import constant_table, summary_table
from lth_keras.search.variants import ALONG_BRANCHES, coordinates, recorded_names
from lth_keras.storage.older import newest
from tests import tiny

SOME = ("stacked_snip_synflow_uss", "weights_snip_synflow_ums_drawn", "bimodal_grasp_magnitude_ims", "snip_iss")


def test_rows_are_what_their_names_say() -> None:
    before = {"when": "before_training"}
    assert parameters("snip_uss", 100) == {"criterion": "snip", **before}
    assert parameters("grasp_magnitude_ims", 50) == {"criterion": "grasp_magnitude", "shots": 50}
    assert parameters("stacked_grasp_magnitude_iss", 9) == {"criterion": "stacked(grasp,magnitude)"}
    assert parameters("stacked_grasp_magnitude_synflow_uss", 9) == {
        "criterion": "stacked(grasp_magnitude,synflow)",
        **before,
    }
    assert parameters("weights_snip_synflow_ums_drawn", 7) == {
        "criterion": "synflow",
        "start": "scores_as_weights(snip)",
        "masks_of_drawn": True,
        "shots": 7,
        **before,
    }
    assert parameters("bimodal_snip_random_iss", 7) == {"criterion": "random", "start": "bimodal(snip)"}
    for row in all_rows():
        assert described(row, 3, Path("learned"))
    assert parameters("learned_tree_extended_uss", 1, Path("x")) == {
        "criterion": f"learned({Path('x') / 'tree_extended.npz'})",
        **before,
    }
    with pytest.raises(ValueError, match="Expected --learned, the folder .* Received: 'learned_linear_uss' without it"):
        parameters("learned_linear_uss", 1)
    assert len(set(all_rows())) == len(list(all_rows()))


def test_run_h5_says_what_a_row_is_and_older_files_are_read_as_if_they_did() -> None:
    own = {"criterion": "magnitude", "when": "after_training", "shots": 1, "start": None, "masks_of_drawn": False}
    rows = list(all_rows())
    changes = {row: parameters(row, 100, Path("some") / "folder") for row in rows}
    half = len(rows) // 2
    written = coordinates(
        {row: changes[row] for row in rows[:half]}, own, {row: recorded_names(changes[row]) for row in rows[half:]}
    )
    attributes = {"metric": "accuracy", "config": '{"shots": 100}'}
    old = newest(xarray.Dataset(coords={"branch": ["winning_ticket", *rows]}, attrs=attributes), "a file")
    assert set(written) == set(ALONG_BRANCHES.values()) <= set(old.coords)
    for name, values in written.items():
        found = dict(zip(old.branch.values.tolist(), old[name].values.tolist(), strict=True))
        assert found == {row: values[row] for row in found}, name
    assert sum(map(len, schedules_of(old).values())) == len(rows)
    assert coordinates({"late": {"score_at": 3}}, own, {}) == {"score_at": {"late": 3.0}}
    assert set(coordinates({"snip_iss": changes["snip_iss"]}, own, {})) == set(ALONG_BRANCHES.values())
    shots = coordinates({"snip_ims": changes["snip_ims"]}, own, {"snip_ums": recorded_names(changes["snip_ums"])})[
        "shots"
    ]
    assert shots == {"snip_ums": 100.0, "snip_ims": 100.0}, "a row of an earlier command keeps its shots"


def test_presets_are_rows_and_more_of_them_extend_a_run() -> None:
    assert len(TOP) == len(set(check_rows(TOP))) == 20 and len(ABLATION) == 24
    assert [row for row in TOP if not row.split("_")[-2 if row.endswith("drawn") else -1].startswith("u")] == [
        "magnitude_iss"
    ]
    config = Config(preset="none", rows=("snip_ums",), criteria=("snip", "synflow"), schedules=("ums", "iss"))
    assert config.chosen == ("snip_ums", "snip_iss", "synflow_ums", "synflow_iss")
    assert config.identity() == Config().identity() != Config(shots=10).identity()
    assert Config().asked_branches()[0] == branch_of("magnitude_iss") == "winning_ticket"
    assert Config(densities=(0.5, 0.1)).levels == 2


def test_what_is_no_row_is_refused_with_those_of_similar_names() -> None:
    with pytest.raises(ValueError, match=r"Received: 'stacked_snip_synflow_usss'; did you mean stacked_snip_synflow_u"):
        Config(rows=("stacked_snip_synflow_usss",))
    with pytest.raises(ValueError, match="Expected at least one row"):
        Config(preset="none")


def test_it_is_the_studys_protocol() -> None:
    search = make_search(Config(), threads=1)
    optimizer = search.optimizer().get_config()
    assert type(search.optimizer()) is keras.optimizers.SGD and optimizer["learning_rate"] == pytest.approx(0.1)
    assert not optimizer["momentum"] and not optimizer["weight_decay"]
    assert (
        search.training.batch_size,
        search.training.epochs,
        search.training.evaluate_every,
        search.training.patience,
    ) == (64, 100, 859, 5)
    assert (
        search.pruning.densities == (0.5, 0.2, 0.1, 0.015, 0.01, 0.007, 0.005, 0.004)
        and search.pruning.scope == "global"
    )
    kernel = search.build().layers[0].kernel
    assert float(keras.ops.std(kernel)) == pytest.approx(np.sqrt(2 / 784), rel=0.05)
    remade = [row for row in TOP if row.startswith(("weights", "bimodal"))]
    assert search.share_dense == {*TOP} - {"magnitude_iss", *remade}


@pytest.mark.slow
def test_the_search_runs_in_every_kind_of_row_and_says_what_is_cut_through(tmp_path: Path) -> None:
    """On data of the tests' own."""
    rows = ("magnitude_iss", *SOME)
    config = Config(preset="none", rows=rows, densities=(0.3, 0.02), shots=3, epochs=2, patience=1)
    search = make_search(config, threads=1).changed(
        build=tiny.build,
        data=tiny.data(),
        batch_size=10,
        evaluate_every=6,
        test_every=12,
        samples_per_class=4,
        threads=None,
    )
    dataset = search.run(1, config.asked_branches(), tmp_path).dataset
    assert list(dataset.branch.values) == ["winning_ticket", *sorted(SOME)]
    np.testing.assert_allclose(dataset.density.isel(trial=0, level=2), 4 / 176)
    assert dataset.test_accuracy_at_early_stop.notnull().all()
    console = Console(file=io.StringIO(), width=200)
    console.print(*config.tables(dataset), summary_table(dataset))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "stacked_snip_synflow_uss" in text and "2%" in text and "ums: before training, many shots" in text
    said = ["branch_criterion", "initialise", "shots"]
    assert [dataset[name].sel(branch=SOME[1]).item() for name in said] == ["synflow", "scores_as_weights(snip)", 3]
    constant = dataset.copy(deep=True)
    constant.test_confusion.loc[{"branch": "snip_iss", "level": 2}] = 0
    constant.test_confusion.loc[{"branch": "snip_iss", "level": 2, "predicted": 1}] = 5
    table = constant_table(constant)
    assert table is not None and "snip_iss" in map(str, table.columns[0].cells)
    assert constant_table(dataset.drop_vars("test_confusion")) is None
