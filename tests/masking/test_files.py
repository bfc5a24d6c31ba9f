"""Files of masked and stripped models."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from lth_keras.masking import get_mask, mask_model, strip_masks
from tests.few import few
from tests.masking.models import (
    MODELS,
    assert_same_outputs,
    example,
    nested_twice,
    outputs,
    pruned_model,
    residual,
    sequential,
)


@few("build", MODELS, nested_twice)
def test_weights_files_hold_the_masks(build, tmp_path):
    masked = pruned_model(build)
    masked.save_weights(tmp_path / "all.weights.h5")
    again = mask_model(build())
    again.load_weights(tmp_path / "all.weights.h5")
    assert get_mask(again) == get_mask(masked)
    assert_same_outputs(again, masked, example(masked))


def test_weights_of_a_plain_model_are_refused_with_what_to_do(tmp_path):
    plain, masked = sequential(), pruned_model(sequential)
    plain.save_weights(tmp_path / "plain.weights.h5")
    with pytest.raises(ValueError, match=r"Load it into the plain model; .*set_mask\(masked, lth_keras.get_mask"):
        masked.load_weights(tmp_path / "plain.weights.h5")


_LOAD = """
import importlib.abc, sys
import numpy as np

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "lth_keras":
            raise ModuleNotFoundError(f"No module named {name!r}")

folder, with_library = sys.argv[1], sys.argv[2] == "with"
if with_library:
    sys.path.insert(0, sys.argv[3])
    import lth_keras
else:
    sys.meta_path.insert(0, Block())
    try:
        import lth_keras
    except ModuleNotFoundError:
        pass
    else:
        sys.exit("lth_keras is importable: the test shows nothing")
import keras

arrays = np.load(folder + "/arrays.npz")
for name in "sequential", "residual", "nested_twice":
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    x = [arrays[key] for key in sorted(arrays) if key.startswith(name + ".x")]
    y = keras.ops.convert_to_numpy(model(x if len(x) > 1 else x[0], training=False))
    np.testing.assert_array_equal(y, arrays[name + ".y"])
assert any(m.split(".")[0] == "lth_keras" for m in sys.modules) == with_library
print("same outputs")
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["with", "without"])
def test_saved_models_load_in_a_new_process(library, tmp_path):
    arrays = {}
    for build in (sequential, residual, nested_twice):
        masked = pruned_model(build)
        saved = masked if library == "with" else strip_masks(masked)
        saved.save(tmp_path / f"{build.__name__}.keras")
        x = example(masked)
        arrays |= {f"{build.__name__}.x{i}": part for i, part in enumerate(keras.tree.flatten(x))}
        arrays[f"{build.__name__}.y"] = outputs(masked, x)[0]
        if library == "without":
            with zipfile.ZipFile(tmp_path / f"{build.__name__}.keras") as file:
                assert b"lth_keras" not in file.read("config.json")
    np.savez(tmp_path / "arrays.npz", **arrays)
    (tmp_path / "load.py").write_text(_LOAD)
    root = str(__file__).rsplit("/tests/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-I", "load.py", str(tmp_path), library, root],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.strip().endswith("same outputs"), done.stderr[-2000:]
