"""Event files, which TensorBoard reads. TensorFlow writes them, whatever backend Keras has."""

from __future__ import annotations

from collections.abc import Mapping


class ScalarWriter:
    """Writes scalars into a new event file of a directory.

    By `tf.summary.write`, since `tf.summary.scalar` needs the package tensorboard, which only reading needs.

    Args:
        directory: is made where it is missing.

    Raises:
        ImportError: where TensorFlow is not installed.
    """

    def __init__(self, directory: str) -> None:
        try:
            import tensorflow as tf
        except ImportError as error:
            raise ImportError(
                "Expected TensorFlow, whose tf.summary writes what TensorBoard reads, on every backend. Received: no "
                "such module; install it with `pip install tensorflow`."
            ) from error
        self._tf, self._writer = tf, tf.summary.create_file_writer(directory)
        self._metadata = tf.compat.v1.SummaryMetadata(data_class="DATA_CLASS_SCALAR")
        self._metadata.plugin_data.plugin_name = "scalars"

    def write(self, scalars: Mapping[str, float], step: int) -> None:
        """Writes scalars by tag, for one step."""
        with self._writer.as_default():
            for tag, value in scalars.items():
                tensor = self._tf.constant(value, self._tf.float32)
                self._tf.summary.write(tag, tensor, step=step, metadata=self._metadata)

    def flush(self) -> None:
        """Writes what is left to the file."""
        self._writer.flush()
