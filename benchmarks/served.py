"""Networks to serve, pruned in several ways and compacted, as files for the runtimes of `runtimes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

import lth_keras as lth
from benchmarks.runtimes import BATCHES, SPARSE, TICKET
from lth_keras.models import conv_6, lenet_300_100, newsgroups_end2end, vgg

DENSE = "Keras, dense"
FILES = {
    DENSE: "dense.keras",
    "Keras, compacted": "keras",
    "LiteRT": "tflite",
    "LiteRT, int8": "int8.tflite",
    "ONNX Runtime": "onnx",
    "OpenVINO": "onnx",
    TICKET: "h5",
    SPARSE: "h5",
}
"""The endings of the runtimes' files."""


def odd(model: keras.Model) -> list[keras.Layer]:
    """Layers whose numbers of inputs no four divide: depthwise ones, and those on colours."""
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return [layer for layer in layers if isinstance(layer, keras.layers.DepthwiseConv2D) or layer.kernel.shape[-2] % 4]


PRUNINGS: dict[str, Callable[[keras.Model], keras.Model]] = {
    "100%": lth.mask_model,
    "20%": lambda model: lth.prune(model, 0.2, scope="layer"),
    "10%": lambda model: lth.prune(model, 0.1, scope="layer"),
    "5%": lambda model: lth.prune(model, 0.05, scope="layer"),
    "1%": lambda model: lth.prune(model, 0.01, scope="layer"),
    "half of the channels": lambda model: lth.prune(model, 0.5, pattern="channels", scope="layer"),
    "a quarter of the channels": lambda model: lth.prune(model, 0.25, pattern="channels", scope="layer"),
    "2:4": lambda model: lth.prune(model, pattern="2:4", exclude=odd(model)),
}
_USUAL_PRUNINGS = tuple(name for name in PRUNINGS if name != "10%")
_USUAL_RUNTIMES = tuple(name for name in FILES if name != SPARSE)

Examples = Callable[[int, np.random.Generator], np.ndarray]


class Served(NamedTuple):
    """A network to serve.

    Attributes:
        title: its name for people.
        build: makes the plain Keras model; `small` is for tests that it runs.
        examples: (number of them, generator) -> inputs.
        recurrent: whether LiteRT needs a file for each batch size.
        prunings: names of `PRUNINGS`.
        runtimes: names of `FILES`; `SPARSE` only runs chains of dense layers.
    """

    title: str
    build: Callable[[bool], keras.Model]
    examples: Examples
    recurrent: bool = False
    prunings: Sequence[str] = _USUAL_PRUNINGS
    runtimes: Sequence[str] = _USUAL_RUNTIMES


def transformer(small: bool) -> keras.Model:
    """Two encoder blocks on 64 tokens of a vocabulary of 8,000: width 128, 4 heads, 512 hidden units, 20 classes."""
    width, heads, hidden = (16, 2, 32) if small else (128, 4, 512)
    tokens = keras.Input((64,), dtype="int32")
    x = keras.layers.Embedding(8_000, width)(tokens)
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(heads, width // heads)(x, x)
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
        inner = keras.layers.Dense(width)(keras.layers.Dense(hidden, "relu")(x))
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, inner]))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(20, "softmax")(x))


def lstm(small: bool) -> keras.Model:
    """An LSTM of 256 units on 64 tokens of a vocabulary of 8,000 in 128 columns, and 20 classes."""
    tokens = keras.Input((64,), dtype="int32")
    x = keras.layers.LSTM(16 if small else 256)(keras.layers.Embedding(8_000, 16 if small else 128)(tokens))
    return keras.Model(tokens, keras.layers.Dense(20, "softmax")(x))


def mobilenet(small: bool) -> keras.Model:
    """MobileNetV2 for 1,000 classes."""
    return keras.applications.MobileNetV2((224, 224, 3), alpha=0.35 if small else 1.0, weights=None)


def words(rows: int, length: int) -> Examples:
    """Makes texts of random words."""
    return lambda n, random: random.integers(rows, size=(n, length), dtype=np.int32)


def pixels(*shape: int) -> Examples:
    """Makes random images."""
    return lambda n, random: random.random((n, *shape), np.float32)


NETWORKS = {
    "lenet": Served("LeNet-300-100", lambda small: lenet_300_100(), pixels(784), runtimes=tuple(FILES)),
    "conv6": Served("Conv-6", lambda small: vgg((2,), (4,)) if small else conv_6(), pixels(32, 32, 3)),
    "mobilenet": Served("MobileNetV2", mobilenet, pixels(224, 224, 3)),
    "transformer": Served("A small Transformer encoder", transformer, words(8_000, 64)),
    "lstm": Served("An LSTM", lstm, words(8_000, 64), recurrent=True),
    "newsgroups": Served(
        "Newsgroups-End2End",
        lambda small: newsgroups_end2end(100, 4) if small else newsgroups_end2end(),
        words(100, 200),
        prunings=("100%", "10%"),
        runtimes=(DENSE, TICKET),
    ),
}


def prepare(network: str, small: bool, folder: str) -> None:
    """Prunes and compacts the network in each way, and writes the files of all runtimes, inputs and outputs.

    Biases, scales and statistics of normalisation are random, as after training: with zeros, units would be of no use
    that are of use in a trained network.
    """
    served = NETWORKS[network]
    keras.utils.set_random_seed(0)
    model = served.build(small)
    fill(model, np.random.default_rng(0))
    x = served.examples(max(BATCHES), np.random.default_rng(1))
    for pruning in served.prunings:
        masked = PRUNINGS[pruning](model)
        path = str(Path(folder, stem(pruning)))
        np.savez(f"{path}.npz", x=x, y=masked.predict(x, verbose=0))
        lth.strip_masks(masked).save(f"{path}.{FILES[DENSE]}")
        lth.save_ticket(f"{path}.{FILES[TICKET]}", masked)
        if "LiteRT" not in served.runtimes:
            continue
        compacted = lth.compact(masked)
        compacted.save(f"{path}.{FILES['Keras, compacted']}")
        lth.export_model(f"{path}.{FILES['ONNX Runtime']}", compacted)
        for size in BATCHES if served.recurrent else (None,):
            ending = "tflite" if size is None else f"{size}.tflite"
            lth.export_model(f"{path}.{ending}", compacted, batch_size=size)
            lth.export_model(f"{path}.int8.{ending}", compacted, values="int8", batch_size=size)


def stem(pruning: str) -> str:
    """What the names of a pruning's files begin with."""
    return pruning.replace(" ", "_").replace(":", "_of_")


def fill(model: keras.Model, random: np.random.Generator) -> None:
    """Gives vectors, that is biases, scales and statistics, random values; scales and variances around 1."""
    for variable in model.variables:
        if len(variable.shape) == 1 and "float" in str(variable.dtype):
            around_one = any(part in variable.path for part in ("gamma", "variance"))
            variable.assign(
                random.uniform(0.5, 1.5, variable.shape) if around_one else random.normal(0, 0.1, variable.shape)
            )
