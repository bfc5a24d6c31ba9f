"""Prints the numbers of README.md: `python results/cifar10_resnet_rewinding/compare.py`."""

from __future__ import annotations

import runpy
from pathlib import Path

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    runpy.run_path(str(FOLDER.parent / "digits_resnet_rewinding" / "compare.py"))["main"](FOLDER, (1, 2))
