"""The papers' networks on JAX, on any device: alone, in batches of five, and with Keras' fit."""

from __future__ import annotations

from benchmarks import machine
from benchmarks.harness import Case, Contender
from benchmarks.ways import fit_speed, search_speed

NETWORKS = {"LeNet-300-100": "lenet", "Conv-6": "conv6", "Newsgroups-End2End": "end2end"}
STEPS = {"lenet": 20_000, "conv6": 2_000, "end2end": 200} if machine.accelerators() else {"lenet": 2_000}
"""Steps of a turn; without a GPU those of 60 for the others."""
BY_ROWS = "end2end"
"""Tickets of this network cannot be trained in batches."""


def contenders(small: bool) -> dict[str, Contender]:
    """Steps per second of each network; for a batch, the sum over its tickets."""
    found = {}
    for label, name in NETWORKS.items():
        steps = 8 if small else STEPS.get(name, 60)
        engine = "auto" if name == BY_ROWS else "compiled"
        found[label] = Contender("jax", search_speed, (name, small, steps, engine))
        if name != BY_ROWS:
            arguments = (name, small, steps, "batched:5")
            found[f"{label}, batches of 5"] = Contender("jax", search_speed, arguments, {"tickets": 5})
        found[f"{label}, Keras fit"] = Contender("jax", fit_speed, (name, small, max(2, steps // 8)))
    return found


CASE = Case(
    "The papers' networks on JAX",
    "Batches of 60, Adam, training only. Keras fit is the plain model on JAX, which compiles each step.",
    contenders,
    lambda small: "MNIST and 20 Newsgroups where they are on this machine, else random; random images",
    [(name, f"{name.partition(',')[0]}, Keras fit") for name in contenders(False) if not name.endswith("fit")],
    rounds=3,
)
