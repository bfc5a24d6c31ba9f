"""docs/results.md says what the files are: its script runs, its tables name every variable."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from lth_keras.analysis import SCHEMA_VERSION
from lth_keras.analysis.schema import CONFUSION, SCALARS
from lth_keras.storage import DocumentLengths, write_level, write_run
from lth_keras.storage.facts import document_variables
from lth_keras.storage.mask_overlaps import overlap_variables
from tests.plots.distributed_run import distributed_run
from tests.synthetic import KINDS, dataset, level_result

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_plotting_script_has_ten_lines_and_runs(tmp_path: Path) -> None:
    script = snippets()[1]
    assert len(script.splitlines()) == 10 and "lth_keras" not in script and "xarray" not in script
    write_run(tmp_path / "run.h5", dataset())
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    for code in snippets()[:2]:
        command = [sys.executable, "-I", "-W", "error", "-c", code]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "accuracy.png").stat().st_size > 5_000


def test_the_mask_snippet_gives_the_mask(tmp_path: Path) -> None:
    result = level_result(level=3)
    write_level(tmp_path / "level_03.h5", result)
    code = snippets()[2].replace("level_03.h5", str(tmp_path / "level_03.h5"))
    names: dict[str, object] = {"h5py": h5py, "np": np}
    exec(code, names)
    np.testing.assert_array_equal(names["mask"], result.mask["hidden_1/kernel"])  # type: ignore[arg-type]


def test_every_variable_dimension_and_attribute_is_described(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    run = dataset(trials=1, levels=1, classes=3, kinds=KINDS, steps_per_epoch=7).assign_attrs(trainings=4)
    run = run.merge(document_variables(DocumentLengths({"train": np.ones(2, int)}, 1)), combine_attrs="override")
    run = run.merge(overlap_variables(run, lambda *_: tmp_path, ()), combine_attrs="override")
    distributed = distributed_run(trials=1, levels=1)
    multi_label = dataset(trials=1, levels=1, classes=3, multi_label=True)
    assert (
        f"| `curves/{CONFUSION}` | int32 (E, C, C) |" in page and "| `curves/test_counts` | int32 (E, C, 3) |" in page
    )
    for name, variable in [*run.data_vars.items(), *multi_label.data_vars.items(), *distributed.data_vars.items()]:
        dimensions = ", ".join(str(dimension) for dimension in variable.dims)
        row = f"| `{name}` | {dimensions} | {variable.dtype} | {variable.attrs['units']} |"
        assert row in page
    for name in [*run.dims, *run.coords, *multi_label.dims, *distributed.dims, *run.attrs]:
        assert f"| `{name}` |" in page
    assert f"version of this layout: {SCHEMA_VERSION}" in page
    for name in SCALARS:
        assert f"`{name}`" in page.split("## Level files")[1]
