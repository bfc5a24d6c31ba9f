"""The examples of the site run, and so does what docs/migrate_from_tfmot.md and docs/prune_my_model.md show."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest

from tests.docs.test_readme import ROOT, run

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCK = np.ones((4, 4), int)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(matplotlib.pyplot, "show", lambda: None)
    runpy.run_path(str(example))
    matplotlib.pyplot.close("all")


@pytest.mark.slow
def test_every_line_for_users_of_tfmot_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "docs" / "migrate_from_tfmot.md")
    lth = names["lth"]
    models = ("named", "blocks", "own", "for_xnnpack", "chosen")
    densities = {name: lth.get_mask(names[name]).densities() for name in models}
    assert lth.get_mask(names["pruned_functional"]).density == pytest.approx(0.2, abs=1e-3)
    assert densities["chosen"] == {"hidden/kernel": pytest.approx(0.2, abs=1e-3)}
    assert densities["named"] == {"hidden/kernel": pytest.approx(0.2, abs=1e-3)}
    assert densities["blocks"] == {"hidden/kernel": 0.5}
    assert [key.rpartition("/")[2] for key in densities["own"]] == ["kernel", "bias"]
    assert len(densities["for_xnnpack"]) == 1
    blocks = lth.get_mask(names["blocks"])["hidden/kernel"].astype(int)
    assert np.array_equal(blocks, np.kron(blocks[::4, ::4], BLOCK))
    two_of_four = lth.get_mask(names["two_of_four"])["hidden/kernel"]
    assert (two_of_four.reshape(16, 4, -1).sum(axis=1) == 2).all()
    loaded = names["loaded"]
    assert lth.get_mask(loaded).density == pytest.approx(0.2, abs=1e-3)
    assert int(loaded.optimizer.iterations) == 3 * 57
    assert names["sizes"]["pruned"] < 0.5 * names["sizes"]["dense"]
    assert list(tmp_path.glob("logs/pruning/events*")) and (tmp_path / "final.keras").exists()


@pytest.mark.slow
def test_the_first_lines_of_pruning_run() -> None:
    names = run(ROOT / "docs" / "prune_my_model.md")
    assert names["lth"].get_mask(names["pruned"]).density == pytest.approx(0.1, abs=1e-3)


def test_what_is_said_of_smaller_models_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "docs" / "smaller.md")
    assert names["small"].count_params() < 0.6 * names["model"].count_params()
    assert np.array_equal(names["mask"], names["lth"].get_mask(names["pruned"])[names["first"]["key"]])
