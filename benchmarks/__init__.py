"""Speed and memory beside what a user would otherwise pick: `make bench`, `python -m benchmarks.NAME`.

Each writes `results/benchmarks/NAME.json` and, made from it, `NAME.md`. Quote ratios and medians:
the same command varies by up to 1.8 times between processes of one idle machine, more on a busy one.
"""

import importlib.util
import os

# Read by Keras and TensorFlow when they are imported, which the modules of this package do next.
os.environ.setdefault("KERAS_BACKEND", "tensorflow" if importlib.util.find_spec("tensorflow") else "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
