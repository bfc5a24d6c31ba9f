"""
Prune an LSTM while it trains, and ship it
==========================================

An LSTM reads each image of a digit row by row. While it trains, four in five of its weights are pruned. What is left
goes to a small file, and to one for Keras without this library.
"""

from pathlib import Path

import keras
from sklearn.datasets import load_digits

import lth_keras as lth

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = (x / 16).reshape(-1, 8, 8)
train, test = slice(0, 1400), slice(1400, None)

# %%
# ``GradualPruning`` follows the schedule of Zhu and Gupta (2017): from all weights after 200 updates to 20% after 800.

layers = keras.layers
model = keras.Sequential([keras.Input((8, 8)), layers.LSTM(128), layers.Dense(10, "softmax")])
masked = lth.mask_model(model)
masked.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
pruning = lth.GradualPruning(0.2, begin=200, end=800, frequency=50)
masked.fit(x[train], y[train], batch_size=32, epochs=30, callbacks=[pruning], verbose=0)
print("accuracy:", masked.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"])
print(lth.summary(masked))

# %%
# A ticket file has the mask and the weights that are left; in 8 bits each it is smaller still, and may cost some
# accuracy.

lth.save_ticket("lstm.ticket.h5", masked)
lth.save_ticket("lstm.int8.ticket.h5", masked, values="int8")
smaller = lth.load_ticket("lstm.int8.ticket.h5")
smaller.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
print("accuracy in 8 bits:", smaller.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"])

# %%
# The file for Keras alone has zeros in place of pruned weights.

lth.export_model("lstm.keras", masked)
for path in ("lstm.keras", "lstm.ticket.h5", "lstm.int8.ticket.h5"):
    print(f"{path}: {Path(path).stat().st_size:,} bytes")
