"""Training sparser and sparser tickets: the native engine, its dense kernel alone, XLA and PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import Case, Contender
from benchmarks.subjects import data_name
from benchmarks.torch_loop import torch_speed
from benchmarks.ways import search_speed

LEVELS = 24
DENSITIES = tuple(0.8**level for level in range(1, LEVELS + 1))
STEPS = 2_000
WHOLE = "ms for a step of every level"
NATIVE, DENSE, COMPILED = "native engine", "native engine, dense kernel alone", "compiled engine, {}"
EAGER, TORCH = "PyTorch, eager", "PyTorch, compiled"


def by_level(
    small: bool, steps: int, engine: str, densities: Sequence[float], *, dense: bool = False
) -> dict[str, float]:
    """Steps per second by density, and the time of a step of every level.

    Args:
        small: whether to use small data.
        steps: of each training.
        engine: of `TicketSearch`.
        densities: of levels 1, 2, ...
        dense: whether the native engine may not use its kernel for kept weights.
    """
    if dense:
        from lth_keras.training.engines.native import native_program

        native_program.SPARSE_BELOW = 0.0
    found = search_speed("lenet", small, steps, engine, evaluations=True, densities=densities)
    return found | {WHOLE: sum(1e3 / rate for rate in found.values())}


def at_every_level(small: bool, steps: int, variant: str, levels: int) -> dict[str, float]:
    """The same for PyTorch, whose steps take equally long at every level."""
    rate = torch_speed(small, steps, variant)["steps/s"]
    return {"steps/s at density 100.0%": rate, WHOLE: levels * 1e3 / rate}


def contenders(small: bool) -> dict[str, Contender]:
    """The native engine with and without its kernel for kept weights, and what trains dense networks."""
    steps, densities = (8, (0.5, 0.2)) if small else (STEPS, DENSITIES)
    levels = 1 + len(densities)
    return {
        NATIVE: Contender("jax", by_level, (small, steps, "native", densities)),
        DENSE: Contender("jax", by_level, (small, steps, "native", densities), {"dense": True}),
        COMPILED.format("TensorFlow"): Contender("tensorflow", by_level, (small, steps, "compiled", densities)),
        COMPILED.format("JAX"): Contender("jax", by_level, (small, steps, "compiled", densities)),
        EAGER: Contender("torch", at_every_level, (small, steps, "eager", levels)),
        TORCH: Contender("torch", at_every_level, (small, steps, "compiled", levels)),
    }


CASE = Case(
    "Training sparse tickets",
    f"LeNet-300-100, batches of 60, Adam, {STEPS:,} steps a level, {LEVELS + 1} levels, each with 80% of the weights "
    "of the one before, pruned by magnitude over the whole network. This library evaluates 5,000 examples every 100 "
    "steps and 10,000 every 1,000; PyTorch, whose steps take as long at every density, only trains. The first half of "
    "a level does not count, as it compiles. The last number is the time of one step at each level, in milliseconds: "
    "times 50,000 it is the time of the paper's search of one branch.",
    contenders,
    data_name("lenet"),
    [(NATIVE, other) for other in (DENSE, *(COMPILED.format(name) for name in ("TensorFlow", "JAX")), EAGER, TORCH)],
    rounds=3,
)
