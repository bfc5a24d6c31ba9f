"""Which weights of which Keras layer are prunable: their kind, and where Keras keeps their variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras

KINDS = ("dense", "conv", "embedding", "output")
"""Kinds of weights, as pruning rates name them. `output` is decided by the layer's place in the model."""


class Prunable(NamedTuple):
    """The prunable weights of a layer type.

    Attributes:
        kind: one of `KINDS` but `output`.
        variables: name of each weight, unique within the layer, to the attribute that holds its Keras variable. Dots
            lead to layers inside: `_kernel`, `cell.recurrent_kernel`, `_query_dense._kernel`. The forward pass reads
            the weight under the same name without a leading underscore, as a Keras property.
        optional: names of weights that exist only with certain arguments of the layer.
        needed: names of weights each of which all paths from the layer's inputs to its outputs lead through; with none
            given, all weights together.
        outputs: name of a weight to the axes that count its outputs (units, filters, heads x dimensions), where they
            are not the last axis alone.
    """

    kind: str
    variables: Mapping[str, str]
    optional: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    outputs: Mapping[str, tuple[int, ...]] = {}


_KERNEL = {"kernel": "_kernel"}
_SEPARABLE = Prunable(
    "conv",
    {"depthwise_kernel": "depthwise_kernel", "pointwise_kernel": "pointwise_kernel"},
    needed=("depthwise_kernel", "pointwise_kernel"),
    outputs={"depthwise_kernel": (-2, -1)},
)
_TRANSPOSED = Prunable("conv", {"kernel": "kernel"}, outputs={"kernel": (-2,)})
_DEPTHWISE = Prunable("conv", {"kernel": "kernel"}, outputs={"kernel": (-2, -1)})
_CELL = {"kernel": "kernel", "recurrent_kernel": "recurrent_kernel"}
_RECURRENT = {"kernel": "cell.kernel", "recurrent_kernel": "cell.recurrent_kernel"}
_ATTENTION = Prunable(
    "dense",
    {f"{name}_kernel": f"_{name}_dense._kernel" for name in ("query", "key", "value", "gate", "output")},
    optional=("gate_kernel",),
    needed=("value_kernel", "output_kernel"),
    outputs={f"{name}_kernel": (-2, -1) for name in ("query", "key", "value", "gate")},
)
_BY_NAME: dict[str, Prunable] = {
    "Dense": Prunable("dense", _KERNEL),
    "EinsumDense": Prunable("dense", _KERNEL),
    "Conv1D": Prunable("conv", _KERNEL),
    "Conv2D": Prunable("conv", _KERNEL),
    "Conv3D": Prunable("conv", _KERNEL),
    "Conv1DTranspose": _TRANSPOSED,
    "Conv2DTranspose": _TRANSPOSED,
    "Conv3DTranspose": _TRANSPOSED,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "Embedding": Prunable("embedding", {"embeddings": "_embeddings"}),
    "ReversibleEmbedding": Prunable(
        "embedding",
        {"embeddings": "_embeddings", "reverse_embeddings": "reverse_embeddings"},
        optional=("reverse_embeddings",),
    ),
    "SimpleRNNCell": Prunable("dense", _CELL, needed=("kernel",)),
    "GRUCell": Prunable("dense", _CELL, needed=("kernel",)),
    "LSTMCell": Prunable("dense", _CELL, needed=("kernel",)),
    "SimpleRNN": Prunable("dense", _RECURRENT, needed=("kernel",)),
    "GRU": Prunable("dense", _RECURRENT, needed=("kernel",)),
    "LSTM": Prunable("dense", _RECURRENT, needed=("kernel",)),
    "ConvLSTM1D": Prunable("conv", _RECURRENT, needed=("kernel",)),
    "ConvLSTM2D": Prunable("conv", _RECURRENT, needed=("kernel",)),
    "ConvLSTM3D": Prunable("conv", _RECURRENT, needed=("kernel",)),
    "MultiHeadAttention": _ATTENTION,
    "GroupQueryAttention": _ATTENTION,
}
PRUNABLE: dict[type[keras.layers.Layer], Prunable] = {
    getattr(keras.layers, name): entry for name, entry in _BY_NAME.items() if hasattr(keras.layers, name)
}
"""The layer types that are masked. `types.register_prunable` adds one."""

_NORMALISES = "normalisation has a factor and an offset per channel, which are not pruned on their own"
_ADAPTS = "its values describe data, they are not weights of a network"
_ELSEWHERE = "a function of another library, whose reading of its weights is not known"
NOT_PRUNABLE: dict[str, str] = {
    "Attention": "its only weight is one factor",
    "AdditiveAttention": "its only weight is a vector of factors",
    "PReLU": "its weights are slopes of an activation",
    **dict.fromkeys(
        ("BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization"), _NORMALISES
    ),
    **dict.fromkeys(("Normalization", "TextVectorization", "StringLookup", "IntegerLookup", "Discretization"), _ADAPTS),
    "STFTSpectrogram": "its kernels are those of the Fourier transform",
    **dict.fromkeys(("JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TFSMLayer"), _ELSEWHERE),
}
"""Layers of Keras with weights that are not masked, by class name, and why."""
