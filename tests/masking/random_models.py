"""Random models of Keras' layers with state or weights: adapted, frozen, nested, shared, in mixed precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

Generator = np.random.Generator
Layer = keras.layers.Layer
FEATURES = 4
TIME = 5


def _normalization(generator: Generator) -> Layer:
    layer = layers.Normalization()
    layer.adapt(generator.normal(3, 2, (20, FEATURES)).astype("float32"))
    return layer


def _low_rank(generator: Generator) -> Layer:
    layer = layers.Dense(FEATURES)
    layer.build((None, FEATURES))
    layer.enable_lora(2)
    return layer


def _quantised(generator: Generator) -> Layer:
    layer = layers.Dense(FEATURES)
    layer.build((None, FEATURES))
    layer.quantize("int8" if generator.random() < 0.5 else "int4")
    return layer


def _scaling(by: float) -> Layer:
    return layers.Lambda(lambda x: x * by)


def _frozen(generator: Generator) -> Layer:
    return layers.Dense(FEATURES, trainable=False)


ON_VECTORS: list[Callable[[Generator], Layer]] = [
    _normalization,
    _low_rank,
    _quantised,
    _frozen,
    lambda _: layers.Dense(FEATURES, activation="relu", kernel_constraint="max_norm", kernel_regularizer="l2"),
    lambda _: layers.EinsumDense("ab,bc->ac", FEATURES),
    lambda _: layers.BatchNormalization(),
    lambda _: layers.LayerNormalization(),
    lambda _: layers.GroupNormalization(2),
    lambda _: layers.RMSNormalization(),
    lambda _: layers.UnitNormalization(),
    lambda _: layers.PReLU(alpha_initializer="ones"),
    lambda _: layers.SpectralNormalization(layers.Dense(FEATURES)),
    lambda _: layers.Dropout(0.3),
    lambda _: layers.AlphaDropout(0.3),
    lambda _: layers.GaussianDropout(0.3),
    lambda _: layers.GaussianNoise(0.3),
    lambda _: layers.ActivityRegularization(0.1),
    lambda generator: layers.Rescaling(float(generator.normal())),
    lambda generator: _scaling(float(generator.normal())),
]
ON_SEQUENCES: list[Callable[[Generator], Layer]] = [
    lambda _: layers.LSTM(FEATURES, return_sequences=True, dropout=0.2),
    lambda _: layers.GRU(FEATURES, return_sequences=True, recurrent_dropout=0.2),
    lambda _: layers.SimpleRNN(FEATURES, return_sequences=True),
    lambda _: layers.RNN([layers.LSTMCell(3), layers.GRUCell(FEATURES)], return_sequences=True),
    lambda _: layers.RNN(layers.SimpleRNNCell(FEATURES), return_sequences=True),
    lambda _: layers.EinsumDense("abc,cd->abd", (TIME, FEATURES)),
    lambda _: layers.Bidirectional(layers.LSTM(FEATURES // 2, return_sequences=True)),
    lambda _: layers.Conv1D(FEATURES, 2, padding="same"),
    lambda _: layers.SeparableConv1D(FEATURES, 2, padding="same"),
    lambda _: layers.DepthwiseConv1D(2, padding="same"),
    lambda _: layers.Conv1DTranspose(FEATURES, 2, padding="same"),
    lambda _: layers.SpatialDropout1D(0.3),
    lambda generator: layers.TimeDistributed(vector_layer(generator, plain=True)),
]
ON_PAIRS: list[Callable[[Generator], Layer]] = [
    lambda _: layers.MultiHeadAttention(2, 3, dropout=0.2),
    lambda _: layers.GroupQueryAttention(3, 4, 2),
    lambda _: layers.Attention(use_scale=True),
    lambda _: layers.AdditiveAttention(),
]
ON_IMAGES: list[Callable[[Generator], Layer]] = [
    lambda _: layers.Conv2D(FEATURES, 2, padding="same"),
    lambda _: layers.SeparableConv2D(FEATURES, 2, padding="same"),
    lambda _: layers.DepthwiseConv2D(2, padding="same"),
    lambda _: layers.Conv2DTranspose(FEATURES, 2, padding="same"),
    lambda _: layers.ConvLSTM1D(FEATURES, 2, padding="same", return_sequences=True),
    lambda _: layers.RandomFlip(),
    lambda _: layers.RandomRotation(0.1),
    lambda _: layers.RandomZoom(0.1),
    lambda _: layers.RandomTranslation(0.1, 0.1),
    lambda _: layers.BatchNormalization(),
]
ON_VOLUMES: list[Callable[[Generator], Layer]] = [
    lambda _: layers.Conv3D(FEATURES, 2, padding="same"),
    lambda _: layers.Conv3DTranspose(FEATURES, 2, padding="same"),
    lambda _: layers.ConvLSTM2D(FEATURES, 2, padding="same", return_sequences=True),
]
ON_FILMS: list[Callable[[Generator], Layer]] = [
    lambda _: layers.ConvLSTM3D(FEATURES, 1, return_sequences=True),
    lambda _: layers.TimeDistributed(layers.Conv3D(FEATURES, 2, padding="same")),
]
TABLES: list[Callable[[Generator], Layer]] = [
    lambda _: layers.Embedding(12, FEATURES),
    lambda _: layers.ReversibleEmbedding(12, FEATURES),
]
MAKERS = [*ON_VECTORS, *ON_SEQUENCES, *ON_PAIRS, *ON_IMAGES, *ON_VOLUMES, *ON_FILMS, *TABLES]

MERGES: list[Callable[[Any, Any], Any]] = [
    lambda x, y: layers.Add()([x, y]),
    lambda x, y: x + y,
    lambda x, y: 2.0 * x - keras.ops.relu(y),
    lambda x, y: keras.ops.maximum(x, y),
]


def _numbers_to_bins(generator: Generator) -> list[Layer]:
    bins = layers.Discretization(num_bins=4)
    bins.adapt(generator.integers(0, 9, 60).astype("float32"))
    return [bins]


def _integers_to_places(generator: Generator) -> list[Layer]:
    table = layers.IntegerLookup(num_oov_indices=2)
    table.adapt(generator.integers(0, 6, 60))
    return [table]


def _hashed(_: Generator) -> list[Layer]:
    return [layers.Hashing(9, salt=3)]


FIRST: list[Callable[[Generator], list[Layer]]] = [lambda _: [], _numbers_to_bins, _integers_to_places, _hashed]


def vector_layer(generator: Generator, plain: bool = False) -> Layer:
    """A layer of vectors; a plain one goes into wrappers, which take no functions and no state of calls."""
    return _any(generator, ON_VECTORS[4:16] if plain else ON_VECTORS)


def random_model(seed: int) -> tuple[keras.Model, np.ndarray]:
    """A random model and inputs for it, decided by the seed."""
    generator = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    policy = generator.choice(["float32", "float32", "mixed_bfloat16"])
    keras.config.set_dtype_policy(str(policy))
    try:
        kind = generator.choice(sorted(_KINDS))
        return _KINDS[str(kind)](generator)
    finally:
        keras.config.set_dtype_policy("float32")


def random_attention(seed: int) -> tuple[keras.Model, np.ndarray]:
    """A random model of sequences in which MultiHeadAttention is sure to be, and inputs for it."""
    generator = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    x = keras.Input((TIME, FEATURES))
    y = _body(generator, x, (TIME, FEATURES), ON_SEQUENCES)
    y = layers.MultiHeadAttention(int(generator.integers(2, 5)), 3)(y, x)
    return _finished(x, layers.Flatten()(y)), generator.normal(size=(3, TIME, FEATURES)).astype("float32")


def _any(generator: Generator, makers: list[Any]) -> Any:
    return makers[generator.integers(len(makers))](generator)


def _some(generator: Generator, makers: list[Any], most: int = 3) -> list[Layer]:
    return [_any(generator, makers) for _ in range(generator.integers(1, most + 1))]


def _body(generator: Generator, x: Any, shape: tuple[int, ...], makers: list[Any]) -> Any:
    """Some layers, some of them in a nested model, which is called twice or goes around at times."""
    for layer in _some(generator, makers):
        x = layer(x)
    if generator.random() < 0.6:
        inside = keras.Input(shape)
        y = inside
        for layer in _some(generator, makers, 2):
            y = layer(y)
        nested = keras.Model(inside, y)
        x = nested(nested(x)) if generator.random() < 0.5 else MERGES[generator.integers(len(MERGES))](x, nested(x))
    return x


def _finished(x: Any, y: Any) -> keras.Model:
    return keras.Model(x, layers.Dense(2, dtype="float32")(y))


def _of(shape: tuple[int, ...], makers: list[Any]) -> Callable[[Generator], tuple[keras.Model, np.ndarray]]:
    def build(generator: Generator) -> tuple[keras.Model, np.ndarray]:
        x = keras.Input(shape)
        y = _body(generator, x, shape, makers)
        if len(shape) == 2 and generator.random() < 0.5:
            y = _any(generator, ON_PAIRS)
            y = _paired(y, x)
        y = layers.Flatten()(y) if len(shape) > 1 else y
        return _finished(x, y), generator.normal(size=(3, *shape)).astype("float32")

    return build


def _paired(layer: Layer, x: Any) -> Any:
    return layer([x, x]) if isinstance(layer, layers.Attention) else layer(x, x)


def _of_integers(generator: Generator) -> tuple[keras.Model, np.ndarray]:
    first = _any(generator, FIRST)
    x = keras.Input((TIME,), dtype="int32")
    y = x
    for layer in first:
        y = layer(y)
    y = _any(generator, TABLES)(y)
    y = layers.Flatten()(_body(generator, y, (TIME, FEATURES), ON_SEQUENCES))
    return _finished(x, y), generator.integers(0, 9, (3, TIME)).astype("int32")


_KINDS: dict[str, Callable[[Generator], tuple[keras.Model, np.ndarray]]] = {
    "vectors": _of((FEATURES,), ON_VECTORS),
    "sequences": _of((TIME, FEATURES), ON_SEQUENCES),
    "images": _of((4, 4, FEATURES), ON_IMAGES),
    "volumes": _of((2, 3, 3, FEATURES), ON_VOLUMES),
    "films": _of((2, 2, 2, 2, FEATURES), ON_FILMS),
    "integers": _of_integers,
}
