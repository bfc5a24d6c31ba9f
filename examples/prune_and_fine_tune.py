"""
Prune a model and train it further
==================================

A dense network loses 95% of its weights, and is trained further with the rest.
"""

import keras
from sklearn.datasets import load_digits

import lth_keras as lth

keras.utils.set_random_seed(0)
x, y = load_digits(return_X_y=True)
x = x / 16
train, test = slice(0, 1400), slice(1400, None)

# %%
# Train it dense.

model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(100, "relu"), keras.layers.Dense(10, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[train], y[train], epochs=20, verbose=0)
print("dense:", model.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"])

# %%
# Keep the 5% of the weights with the largest magnitude. The pruned model is a new one, to be compiled.

pruned = lth.prune(model, density=0.05)
pruned.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
print("pruned:", pruned.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"])
print(lth.summary(pruned))

# %%
# Train the rest. The pruned weights stay pruned.

pruned.fit(x[train], y[train], epochs=20, verbose=0)
print("trained further:", pruned.evaluate(x[test], y[test], verbose=0, return_dict=True)["accuracy"])
print("density:", lth.get_mask(pruned).density)

# %%
# A plain Keras model with zeros, which loads where lth_keras is not installed.

plain = lth.strip_masks(pruned)
plain.save("plain.keras")
