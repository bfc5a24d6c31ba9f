"""Speed and memory beside what a user would pick instead: `python -m benchmarks --list`, `make bench`.

`harness.py` measures, `cases/` says what; each case writes `<case>.json` and, made from it, `<case>.md` to
results/benchmarks. Quote ratios: the speed of one command varies by up to 1.8 times between processes of one idle
machine. `golden.py` compares the numbers of two commits; it measures no time.
"""

import importlib.util
import os

# Keras and TensorFlow read these when they are imported, which the modules of this package do next.
os.environ.setdefault("KERAS_BACKEND", "tensorflow" if importlib.util.find_spec("tensorflow") else "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
