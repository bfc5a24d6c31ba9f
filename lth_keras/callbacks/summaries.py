"""Writes densities for TensorBoard while Keras' `fit` runs."""

from __future__ import annotations

import os
from typing import Any

import keras

from lth_keras.backends import ScalarWriter
from lth_keras.callbacks.updates import updates_of
from lth_keras.masking import get_mask, prunable_weights


class PruningSummaries(keras.callbacks.Callback):
    """Writes the density of each masked weight and of the whole model for TensorBoard, at the end of each epoch.

    They are scalars over the optimiser's updates, in `<log_dir>/pruning`: `density` of all prunable weights, and
    `density/<key>` of each. `keras.callbacks.TensorBoard(log_dir)` writes losses and metrics beside them. As that one
    it writes by TensorFlow, whatever backend Keras has.

    Args:
        log_dir: the directory that TensorBoard reads.

    Raises:
        ImportError: where TensorFlow is not installed.
        ValueError: in `fit`, for a model without masked layers.

    Example:
        >>> model.fit(x, y, callbacks=[GradualPruning(0.1, end=1000), PruningSummaries("logs")])
    """

    def __init__(self, log_dir: str | os.PathLike[str] = "logs") -> None:
        super().__init__()
        self.log_dir = os.path.expanduser(os.fspath(log_dir))
        self._writer = ScalarWriter(os.path.join(self.log_dir, "pruning"))

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that there is something to write."""
        prunable_weights(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the densities."""
        model = self.model
        mask = get_mask(model)
        densities = {f"density/{key}": density for key, density in mask.densities().items()}
        self._writer.write({"density": mask.density, **densities}, step=updates_of(model))

    def on_train_end(self, logs: Any = None) -> None:
        """Writes what is left to the file."""
        self._writer.flush()
