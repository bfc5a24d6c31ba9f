"""What a model's outputs are."""

from __future__ import annotations

import keras


def gives_probabilities(model: keras.Model) -> bool:
    """Whether a model ends in a sigmoid or softmax."""
    layer = model.outputs[0]._keras_history.operation
    if isinstance(layer, keras.Model) and layer.outputs:
        return gives_probabilities(layer)
    if isinstance(layer, keras.layers.Softmax):
        return True
    named = (keras.activations.sigmoid, keras.activations.hard_sigmoid, keras.activations.softmax)
    return getattr(layer, "activation", None) in named
