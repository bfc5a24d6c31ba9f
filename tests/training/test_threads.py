"""Threads of the backends on CPUs, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")
ROOT = Path(__file__).resolve().parent.parent.parent
CODE = """
import sys
from pathlib import Path

from lth_keras import backends

backends.set_threads(int(sys.argv[1]))
import keras

keras.ops.matmul(keras.ops.ones((300, 300)), keras.ops.ones((300, 300)))
backends.set_threads(int(sys.argv[1]))  # the same again is none other
names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
print(sum(name.startswith("tf_XLAEigen") for name in names))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted where Linux lists them")
@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 3])
def test_jax_has_as_many_threads_as_asked_for(threads):
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"} | {"KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", CODE, str(threads)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) == threads


@pytest.mark.slow
def test_tensorflow_that_has_run_says_what_to_do():
    code = "import keras\nkeras.ops.ones((3, 3))\nfrom lth_keras import backends\nbackends.set_threads(1)"
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "in a new process, or leave out threads." in done.stderr
