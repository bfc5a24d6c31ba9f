"""
Search for winning tickets
==========================

A search trains a network, prunes it, rewinds the remaining weights to their initial values, and trains again. The
control trains the same masks with fresh random weights. One trial of two levels: enough to see how it is done, too
little to conclude anything.
"""

import keras
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import lth_keras as lth

x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")


def build():
    return keras.Sequential([keras.Input((64,)), keras.layers.Dense(100, "relu"), keras.layers.Dense(10, "softmax")])


search = lth.TicketSearch(
    build=build,
    data={"train": (x[:1200], y[:1200]), "validation": (x[1200:1500], y[1200:1500]), "test": (x[1500:], y[1500:])},
    optimizer=lambda: keras.optimizers.Adam(1e-3),
    loss="sparse_categorical_crossentropy",
    rates={"dense": 0.8, "output": 0.4},
    levels=2,
    steps=200,
    batch_size=60,
)
run = search.run(trials=1, branches=("winning_ticket", "random_reinit"), out="runs")

# %%
# Level 0 is the dense network, which both branches share. Each level prunes 80% of the remaining weights of the first
# layer, and 40% of the last's.

accuracy = run.dataset.test_accuracy_at_early_stop.isel(trial=0)
print(accuracy.to_pandas())

# %%
# Test accuracy at the step of least validation loss, over the share of weights that is left.

density = run.dataset.density.isel(trial=0)
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for branch in accuracy.branch.values:
    axes.plot(100 * density.sel(branch=branch), accuracy.sel(branch=branch), "o-", label=branch.replace("_", " "))
axes.set_xscale("log")
ticks = 100 * density.sel(branch="winning_ticket").values
axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
axes.minorticks_off()
axes.invert_xaxis()
axes.set_xlabel("weights remaining (%)")
axes.set_ylabel("test accuracy")
axes.legend()
plt.show()

# %%
# The ticket itself: a masked Keras model with the weights before training.

ticket = run.ticket(trial=0, level=2)
print(lth.summary(ticket))
