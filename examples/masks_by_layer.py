"""
Look at masks
=============

Which weights are left, and in which layers.
"""

import keras
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import lth_keras as lth

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(100, "relu", name="hidden"),
        keras.layers.Dense(50, "relu", name="second"),
        keras.layers.Dense(10, "softmax", name="classes"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(x / 16, y, epochs=20, verbose=0)
mask = lth.get_mask(lth.prune(model, density=0.1))

# %%
# The mask of the first layer: black weights are kept. Rows without any are pixels that the network no longer reads.

figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
axes.imshow(mask["hidden/kernel"], cmap="gray_r", interpolation="none", aspect="auto")
axes.set_xlabel("unit")
axes.set_ylabel("pixel")
plt.show()

# %%
# How many weights each pixel has left, as an image.

figure, axes = plt.subplots(figsize=(4, 3.5), layout="constrained")
shown = axes.imshow(mask["hidden/kernel"].sum(axis=1).reshape(8, 8))
figure.colorbar(shown, label="weights kept")
axes.set_xticks([])
axes.set_yticks([])
plt.show()

# %%
# Weights compete over the whole network by default, so layers keep different shares.

shares = mask.densities()
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
bars = axes.bar(list(shares), [100 * share for share in shares.values()], width=0.6)
axes.bar_label(bars, fmt="%.0f%%")
axes.axhline(100 * mask.density, color="black", linewidth=1, linestyle="--", label="whole network")
axes.set_ylabel("weights kept (%)")
axes.margins(y=0.15)
axes.legend()
plt.show()
