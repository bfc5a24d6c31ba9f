"""Speed and memory compared with alternatives such as Keras' fit: `python -m benchmarks --list`, `make bench`.

`harness.py` measures the cases in `cases/`. Each case writes `<case>.json` and a table `<case>.md` to
results/benchmarks. Quote ratios: the speed of one command varies by up to 1.8 times between processes of one idle
machine. `golden.py` compares the results of two commits; it measures no time.
"""

import importlib.util
import os

# Keras and TensorFlow read these on import, so they are set before the modules of this package import them.
os.environ.setdefault("KERAS_BACKEND", "tensorflow" if importlib.util.find_spec("tensorflow") else "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
