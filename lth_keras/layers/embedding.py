"""Embedding layer with a mask on its table."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from lth_keras.layers.masked import MaskedLayer
from lth_keras.layers.reading import reading_masked
from lth_keras.layers.rows import look_up


@keras.saving.register_keras_serializable(package="lth_keras")
class MaskedEmbedding(MaskedLayer, keras.layers.Embedding):
    """`keras.layers.Embedding` that returns `embeddings[x] * embeddings_mask[x]`.

    Rows are looked up first and only those are masked: a table of 61,188 rows costs a batch no more than its own rows.

    Args:
        As `keras.layers.Embedding`.

    Attributes:
        embeddings_mask: non-trainable boolean weight of the table's shape, `(input_dim, output_dim)`; all True after
            build.

    Example:
        >>> layer = MaskedEmbedding(input_dim=1000, output_dim=8)
        >>> layer.build()
        >>> layer.embeddings_mask.shape
        (1000, 8)
    """

    zeros_replace_mask = False  # it masks the rows that it looks up, fewer than the table has

    def __init__(self, *args: Any, weights: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if weights is not None:  # not left to Keras, which would expect a value for the mask too
            self.build()
            value = weights[0] if isinstance(weights, list) and len(weights) == 1 else weights
            self.prunable_variable("embeddings").assign(value)

    def call(self, inputs: Any) -> Any:
        """Looks rows up, then masks them."""
        self.note_masks()
        found = look_up(self)
        if found is not None:
            return found
        with reading_masked({}):  # MaskedLayer.call would mask the whole table
            rows = super(MaskedLayer, self).call(inputs)  # type: ignore[misc]
        return self._masked_rows(inputs, rows)

    def quantized_call(self, *args: Any, **kwargs: Any) -> Any:
        """Looks quantised rows up, then masks them."""
        return self._masked_rows(args[0], super().quantized_call(*args, **kwargs))

    def _masked_rows(self, indices: Any, rows: Any) -> Any:
        mask = ops.take(self.embeddings_mask, ops.cast(indices, "int32"), axis=0)
        return ops.multiply(rows, ops.cast(mask, rows.dtype))
