"""
Leave layers out, and prune in patterns
=======================================

A small convolutional network, pruned in four ways.
"""

import keras
import matplotlib.pyplot as plt

import lth_keras as lth

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, activation="relu", name="first_conv"),
        keras.layers.Conv2D(16, 3, activation="relu", name="second_conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(32, "relu", name="hidden"),
        keras.layers.Dense(10, "softmax", name="classes"),
    ]
)

# %%
# The last layer stays as it is, and does not count in the density.

print(lth.summary(lth.prune(model, 0.25, exclude="last")))

# %%
# A density for each group of layers; ``"*"`` is all others.

pruned = lth.prune(model, {"*_conv": 0.5, "classes": 0.8, "*": 0.1})
print(lth.get_mask(pruned).densities())

# %%
# Half of each layer's units and filters, their numbers rounded to multiples of 4. The last layer keeps its units, which
# are the model's outputs.

units = lth.prune(model, 0.5, pattern="units", scope="layer", multiple_of=4)
filters = lth.prune(units, 0.5, pattern="filters", scope="layer", multiple_of=4)
print(lth.summary(filters))

# %%
# Two of every four inputs of each unit.

sparse = lth.prune(model, pattern="2:4", exclude=["first_conv", "last"])

# %%
# What the patterns look like in the kernel of the layer ``hidden``: black weights are kept.

masks = {
    "magnitude": lth.get_mask(lth.prune(model, 0.5, scope="layer")),
    "units": lth.get_mask(units),
    "4x4 blocks": lth.get_mask(lth.prune(model, 0.5, pattern="4x4", scope="layer", exclude=["*_conv", "last"])),
    "2:4": lth.get_mask(sparse),
}
figure, axes = plt.subplots(1, 4, figsize=(9, 4), layout="constrained")
for axis, (name, mask) in zip(axes, masks.items(), strict=True):
    axis.imshow(mask["hidden/kernel"][:48], cmap="gray_r", interpolation="none")
    axis.set_title(name)
    axis.set_xlabel("unit")
axes[0].set_ylabel("input, the first 48")
plt.show()
