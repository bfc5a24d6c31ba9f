"""Library, experiments and data sets where tensorflow and tensorflow_datasets are not installed.

Each test runs a child process in which they cannot be imported: `tests/without_tensorflow/sitecustomize.py`.
The library is also imported and used where nothing is installed that only the experiments need.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datasets import mnist, newsgroups, reuters, reuters_packed
from datasets.newsgroups_packed import Encoded, to_arrays
from datasets.packed import write_packed
from datasets.text import Documents
from experiments.newsgroups_end2end import Config
from lth_keras.search.identity import digest
from tests.datasets.newsgroups_small import vocabulary_words
from tests.test_packaging import DISTRIBUTIONS, imported, required, requirements, sources

ROOT = Path(__file__).resolve().parent.parent


def child(*command: str, blocked: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with Keras on JAX, from the repository."""
    folders = [str(ROOT / "tests" / "without_tensorflow")] if blocked else []
    variables = {"PYTHONPATH": os.pathsep.join([*folders, str(ROOT)]), "KERAS_BACKEND": "jax", **environment}
    command = (sys.executable, *command)
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True)


def output(*command: str, **options: str) -> str:
    """What a child printed that ended well."""
    result = child(*command, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def of_backends(absent: set[str]) -> set[str]:
    """The modules that import one of these backends when they are imported themselves."""
    found = set()
    for path in sources("lth_keras"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] in absent for name in names):
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return found


USE = """
import importlib, json, pathlib, pkgutil, sys
absent = sys.argv[2:]
sys.modules.update(dict.fromkeys(absent))  # an import of what only the experiments need fails
import keras, numpy as np
import lth_keras as lth
from lth_keras.cli import main

failed = {}
def import_all(*packages):
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                failed[module.name] = error.name.split(".")[0]

import_all(lth)
for name in lth.__all__:
    getattr(lth, name)

x = np.random.default_rng(0).random((8, 6, 6, 1), np.float32)
layers = keras.layers
model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(4)])
before = model.predict(x, verbose=0)
pruned = lth.prune(model, density=0.3)
assert abs(lth.get_mask(pruned).density - 0.3) < 0.01
pruned.compile("sgd", "mse")
pruned.fit(x, np.zeros((8, 4)), verbose=0)
stripped, again = lth.strip_masks(pruned), lth.prune(pruned, density=0.1)
after = pruned.predict(x, verbose=0)
np.testing.assert_allclose(stripped.predict(x, verbose=0), after, atol=1e-6)
# JAX trains in place: a copy that has its weights in the same memory as another would lose them.
again.compile("adam", "mse")
again.fit(x, np.zeros((8, 4)), verbose=0)
np.testing.assert_array_equal(pruned.predict(x, verbose=0), after)
np.testing.assert_array_equal(model.predict(x, verbose=0), before)
assert lth.get_mask(again).is_subset(lth.get_mask(pruned)) and keras.backend.backend() == "jax"

from tests import tiny
out = pathlib.Path(sys.argv[1])
run = tiny.make(levels=0).run(out=out)
assert lth.open_run(run.directory.path).sizes["level"] == 1
assert main(["report", str(run.directory.path)]) == main(["list", str(out)]) == 0

for name in absent:
    del sys.modules[name]
import datasets, experiments
import_all(datasets, experiments)
there = [name for name in sys.modules if name.split(".")[0] in ("tensorflow", "tensorflow_datasets")]
print(json.dumps([failed, there]))
"""


def test_the_library_is_used_on_jax_without_tensorflow_and_what_only_the_experiments_need(tmp_path: Path) -> None:
    """But for pillow, which matplotlib brings. Then all that can be is imported."""
    modules = {distribution: module for module, distribution in DISTRIBUTIONS.items()}
    absent = required("experiments").keys() - {"pillow"}
    names = [modules.get(name, name.replace("-", "_")) for name in sorted(absent)]
    assert {"sklearn", "tyro", "nltk"} <= set(names)
    failed, there = json.loads(output("-c", USE, str(tmp_path), *names).splitlines()[-1])
    assert there == []
    without = {"tensorflow"} | ({"torch"} if importlib.util.find_spec("torch") is None else set())
    assert set(failed.values()) == without
    assert set(failed) == of_backends(without) and all(name.startswith("lth_keras.backends.") for name in failed)


@pytest.mark.slow
def test_on_jax_tensorflow_is_not_imported_where_it_is_installed() -> None:
    code = (
        "import keras, sys, lth_keras.search.search, lth_keras.search.runner, experiments.command, datasets.__main__\n"
    )
    code += "print('tensorflow' in sys.modules, keras.backend.backend())"
    result = child("-c", code, blocked=False)
    assert result.stdout.split() == ["False", "jax"], result.stderr


EXPERIMENTS = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_explains_itself(experiment: str) -> None:
    explained = output("-m", f"experiments.{experiment}", "--help")
    assert "--backend" in explained and "jax" in explained
    if "--describe" in explained:
        assert "steps per epoch" in output("-m", f"experiments.{experiment}", "--describe")


def test_the_absent_backend_is_one_clear_line(tmp_path: Path) -> None:
    result = child("-m", "experiments.digits_lenet_fcn", "--out", str(tmp_path / "runs"))
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "--backend tensorflow to be installed" in result.stderr and "choose another --backend" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """LTH_DATA_DIR with made-up data of full size, packed."""
    own = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    images = {}
    for split, count in mnist.IMAGES.counts.items():
        images[f"{split}_x"] = np.zeros((count, 28, 28), np.uint8)
        images[f"{split}_x"][:, 3] = generator.integers(0, 256, (count, 1), np.uint8)
        images[f"{split}_y"] = generator.integers(0, 10, count, np.uint8)
    write_packed("mnist", mnist.content(), images, own / "packed", int(5e6))
    counts = {"train": 11_314, "test": 7_532}
    offsets = {split: np.arange(count + 1) * 3 for split, count in counts.items()}
    encoded = Encoded(
        {s: Documents(generator.integers(1, newsgroups.ROWS, 3 * counts[s]), offsets[s]) for s in counts},
        {s: np.arange(counts[s]) % 20 for s in counts},
        tuple(f"group.{group}" for group in range(20)),
    )
    arrays = to_arrays(encoded, "".join(f"{word}\n" for word in vocabulary_words()).encode())
    write_packed("newsgroups", newsgroups.content(), arrays, own / "packed", int(5e6))
    write_packed("reuters", reuters.content(), reuters_packed.to_arrays(_reuters(generator)), own / "packed", int(5e6))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LTH_DATA_DIR", str(own))
        yield own


def _reuters(generator: np.random.Generator) -> reuters_packed.Encoded:
    counts = {"train": 9_603, "test": 3_299}
    return reuters_packed.Encoded(
        {s: Documents(generator.integers(1, 20_000, 3 * n), np.arange(n + 1) * 3) for s, n in counts.items()},
        {s: np.eye(118, dtype=np.uint8)[np.arange(n) % 118] for s, n in counts.items()},
        tuple(f"category{place:03d}" for place in range(118)),
    )


LOAD = """
import json, sys
from datasets import digits, mnist, newsgroups, reuters
from experiments.newsgroups_end2end import Config
from lth_keras.search.identity import digest
print(json.dumps([
    {module.__name__: digest(module.load(seed=2)) for module in (digits, mnist, newsgroups, reuters)},
    [lengths.tolist() for lengths in newsgroups.lengths()],
    Config().identity(),
    [name for name in sys.modules if name in ("tensorflow", "tensorflow_datasets", "nltk")],
]))
"""


@pytest.mark.slow
def test_packed_data_are_loaded_and_name_the_same_runs(packed: Path, tmp_path: Path) -> None:
    nothing = {name: str(tmp_path) for name in ("TFDS_DATA_DIR", "SCIKIT_LEARN_DATA", "NLTK_DATA", "XDG_CACHE_HOME")}
    loaded, lengths, identity, imported = json.loads(output("-c", LOAD, **nothing))
    from datasets import digits

    assert loaded == {module.__name__: digest(module.load(seed=2)) for module in (digits, mnist, newsgroups, reuters)}
    assert lengths == [[3] * 11_314, [3] * 7_532]
    assert identity == json.loads(json.dumps(Config().identity())) and identity["vocabulary"] == "published"
    assert imported == []
    listed = output("-m", "datasets", **nothing)
    assert [line.split()[:2] for line in listed.splitlines()[1:6]] == [
        ["digits", "yes"],
        ["mnist", "packed"],
        ["cifar10", "no"],
        ["newsgroups", "packed"],
        ["reuters", "packed"],
    ]


def test_the_page_on_installation_lists_every_package_that_jax_alone_needs() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    commands = re.findall(r"^pip install --no-deps -e \.\n((?:pip install (?:.*\\\n)*.*\n)+)", page, re.MULTILINE)
    listed = requirements("\n".join(re.findall(r'"([^"]+)"', commands[0])))
    needed = required() | required("jax") | required("experiments")
    absent = {"tensorflow", "tensorflow-datasets", "importlib-resources"}
    assert listed == {name: bound.replace(" ", "") for name, bound in needed.items() if name not in absent}
    optional = {name for extra in ("native", "torch", "litert", "onnx") for name in required(extra)}
    assert imported("lth_keras", "experiments", "datasets") - listed.keys() <= absent | optional
