"""
Prune heads and units of a small Transformer, and ship it
=========================================================

A Transformer reads the 8 rows of a digit's image. Half of its attention heads and of its hidden units are pruned, and
the plain model without them is trained further.
"""

from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import lth_keras as lth

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).reshape(-1, 8, 8)
train, test = slice(0, 1400), slice(1400, None)

# %%
# One encoder block. Flattened at the end, each row has output weights of its own, so no places are embedded.

layers = keras.layers
rows = keras.Input((8, 8))
words = layers.Dense(32)(rows)
attended = layers.MultiHeadAttention(8, 8, name="attention")(words, words)
block = layers.LayerNormalization()(layers.Add()([words, attended]))
hidden = layers.Dense(32)(layers.Dense(128, "relu", name="hidden")(block))
block = layers.LayerNormalization()(layers.Add()([block, hidden]))
model = keras.Model(rows, layers.Dense(10, "softmax")(layers.Flatten()(block)))


def fitted(network: keras.Model, epochs: int) -> keras.Model:
    network.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(x[train], y[train], epochs=epochs, verbose=0)
    accuracy = network.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"]
    print(f"accuracy {accuracy:.3f} with {network.count_params():,} parameters")
    return network


fitted(model, 15)

# %%
# Prune whole channels: heads of the attention, and units between the two dense layers. What normalisation mixes has to
# stay, which a warning says.

pruned = lth.prune(model, 0.5, pattern="channels", scope="layer")
print(lth.summary(pruned))

# %%
# ``compact`` makes a plain model without them, which trains on faster than the masked one.

small = fitted(lth.compact(pruned), 10)
lth.export_model("transformer.keras", small)
print(f"transformer.keras: {Path('transformer.keras').stat().st_size:,} bytes")
same = keras.models.load_model("transformer.keras")
assert np.allclose(same.predict(x[test], verbose=0), small.predict(x[test], verbose=0), atol=1e-5)
