"""
Halve the channels of MobileNetV2, and ship it
==============================================

A MobileNetV2 learns the digits as images of 32 x 32 pixels. Half of its channels are pruned, with everything that makes
and reads them, also across its residual additions; the smaller network is trained further and written to files.
"""

import importlib.util
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import lth_keras as lth

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
images = np.repeat(np.repeat(x.reshape(-1, 8, 8, 1) / 8 - 1, 4, axis=1), 4, axis=2).repeat(3, axis=3).astype("float32")
train, test = slice(0, 1400), slice(1400, None)


def fitted(network: keras.Model, epochs: int) -> keras.Model:
    network.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(images[train], y[train], batch_size=32, epochs=epochs, verbose=0)
    return network


def report(name: str, network: keras.Model) -> None:
    accuracy = network.evaluate(images[test], y[test], batch_size=397, verbose=0, return_dict=True)["accuracy"]
    begin = time.perf_counter()
    network.predict(images, batch_size=64, verbose=0)
    speed = len(images) / (time.perf_counter() - begin)
    weights = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    print(f"{name}: accuracy {accuracy:.3f}, {weights:,} trained weights, {speed:,.0f} images/s")


# %%
# Train it. The statistics of batch normalisation need some hundred steps.

model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=10)
for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.momentum = 0.9
report("dense", fitted(model, 12))

# %%
# Prune half of the channels of every layer, to multiples of 8, which processors like. What has to stay is named.

pruned = lth.prune(model, 0.5, pattern="channels", scope="layer", multiple_of=8)
report("pruned", fitted(pruned, 6))

# %%
# The plain network without them.

small = lth.compact(pruned)
small.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
report("compacted", small)

# %%
# A file for Keras; and one for LiteRT, where the extra ``litert`` is installed.

lth.export_model("mobilenet.keras", small)
paths = ["mobilenet.keras"]
if importlib.util.find_spec("ai_edge_litert") and keras.backend.backend() == "tensorflow":
    lth.export_model("mobilenet.tflite", small, values="int8")
    paths.append("mobilenet.tflite")
for path in paths:
    print(f"{path}: {Path(path).stat().st_size:,} bytes")
