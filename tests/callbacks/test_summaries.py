"""What TensorBoard is given to read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lth_keras.callbacks import GradualPruning, PruningSummaries
from lth_keras.masking import get_mask
from tests.callbacks.cases import BATCHES, compiled, dense_model, fit

ROOT = Path(__file__).parents[2]


def written(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars in the event files of a folder, by tag and step."""
    import tensorflow as tf

    found: dict[str, dict[int, float]] = {}
    for path in folder.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


def test_it_writes_the_density_of_each_weight_and_of_all_over_the_updates(tmp_path: Path) -> None:
    model = compiled()
    fit(model, GradualPruning(0.25, end=20, frequency=5), PruningSummaries(tmp_path / "logs"), epochs=2)
    scalars = written(tmp_path / "logs" / "pruning")
    assert {tag: list(values) for tag, values in scalars.items()} == dict.fromkeys(
        ["density", "density/hidden/kernel", "density/output/kernel"], [BATCHES, 2 * BATCHES]
    )
    mask = get_mask(model)
    last = {tag: values[2 * BATCHES] for tag, values in scalars.items()}
    expected = {"density": 0.25, **{f"density/{key}": density for key, density in mask.densities().items()}}
    assert last == pytest.approx(expected)


def test_a_model_without_masks_is_refused(tmp_path: Path) -> None:
    model = dense_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="mask_model"):
        fit(model, PruningSummaries(tmp_path))


@pytest.mark.slow
def test_without_tensorflow_it_says_what_to_install() -> None:
    variables = {"PYTHONPATH": f"{ROOT / 'tests' / 'without_tensorflow'}{os.pathsep}{ROOT}", "KERAS_BACKEND": "jax"}
    code = "import lth_keras as lth; lth.PruningSummaries('logs')"
    child = [sys.executable, "-c", code]
    result = subprocess.run(child, env={**os.environ, **variables}, capture_output=True, text=True)
    assert result.returncode == 1 and "pip install tensorflow" in result.stderr.splitlines()[-1], result.stderr
