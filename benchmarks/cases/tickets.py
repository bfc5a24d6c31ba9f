"""Several tickets of LeNet-300-100 at a time on JAX: in one batch, and in worker processes."""

from __future__ import annotations

from benchmarks import machine
from benchmarks.harness import Case, Contender
from benchmarks.subjects import data_name
from benchmarks.ways import search_speed

ALONE = "one by one"
WIDTHS = (1, 2, 5, 10) if not machine.accelerators() else (1, 5, 10, 50)


def contenders(small: bool) -> dict[str, Contender]:
    """One ticket, two worker processes with one thread each, and batches; steps/s are summed over tickets."""
    steps = 8 if small else 20_000 if machine.accelerators() else 2_000
    found = {ALONE: Contender("jax", search_speed, ("lenet", small, steps))}
    if not machine.accelerators():
        for engine in ("compiled", "native"):
            found[f"{ALONE}, {engine}, two workers of one thread"] = Contender(
                "jax",
                search_speed,
                ("lenet", small, steps, engine),
                {"tickets": 2, "workers": 2, "threads": 1},
            )
        found[f"{ALONE}, native"] = Contender("jax", search_speed, ("lenet", small, steps, "native"))
    for width in WIDTHS[1:3] if small else WIDTHS[1:]:
        arguments = ("lenet", small, steps, f"batched:{width}")
        found[f"batches of {width}"] = Contender("jax", search_speed, arguments, {"tickets": width})
    return found


CASE = Case(
    "Several tickets at a time",
    "LeNet-300-100 on JAX, batches of 60, Adam, training only. Steps per second are those of all tickets in all; "
    "tickets of one batch are trained by one compiled program (`batched:N`).",
    contenders,
    data_name("lenet"),
    [(name, ALONE) for name in contenders(False) if name != ALONE],
    rounds=3,
)
