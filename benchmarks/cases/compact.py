"""Tickets without units that pruning has disconnected: the compact engine and the whole network."""

from __future__ import annotations

from benchmarks.harness import Case, Contender
from benchmarks.subjects import data_name
from benchmarks.ways import search_speed

DENSITIES = (0.1, 0.015, 0.004)
STEPS = 10_000
BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax"}


def contenders(small: bool) -> dict[str, Contender]:
    """Both engines on both backends, level by level."""
    return {
        f"{engine} engine, {name}": Contender(
            backend,
            search_speed,
            ("lenet", small, 8 if small else STEPS, engine),
            {"evaluations": True, "densities": DENSITIES},
        )
        for name, backend in BACKENDS.items()
        for engine in ("compiled", "compact")
    }


CASE = Case(
    "Tickets without dead units",
    f"LeNet-300-100, batches of 60, Adam, {STEPS:,} steps a level with evaluations, pruned by magnitude over the whole "
    "network. The first half of a level does not count: it compiles a smaller network, which takes some seconds.",
    contenders,
    data_name("lenet"),
    [(f"compact engine, {name}", f"compiled engine, {name}") for name in BACKENDS],
    rounds=3,
)
