"""A training step with 294 million embedding weights: by rows, and with Keras' fit."""

from __future__ import annotations

from benchmarks.harness import Case, Contender
from benchmarks.subjects import data_name
from benchmarks.ways import fit_speed, search_speed

ROWS = {"by rows, TensorFlow": "tensorflow", "by rows, JAX": "jax"}
FIT, COMPILED = "Keras fit", "Keras fit, compiled"
STEPS = 120


def contenders(small: bool) -> dict[str, Contender]:
    """This library on both backends, and `fit`, which makes an eighth as many steps."""
    steps = 8 if small else STEPS
    memory = {"memory": True}
    found = {
        name: Contender(backend, search_speed, ("end2end", small, steps, "auto"), memory)
        for name, backend in ROWS.items()
    }
    fit = ("end2end", small, max(2, steps // 8))
    found[FIT] = Contender("tensorflow", fit_speed, fit, memory | {"jit_compile": False})
    found[COMPILED] = Contender("tensorflow", fit_speed, fit, memory | {"jit_compile": True})
    return found


CASE = Case(
    "A step with large embeddings",
    f"Newsgroups-End2End, 293,702,400 embedding weights, batches of 60, Adam, turns of {STEPS} steps, of which the "
    "second half counts. GB are 10^9 bytes. A process takes up to 9 GB.",
    contenders,
    data_name("end2end"),
    [(rows, fit) for rows in ROWS for fit in (FIT, COMPILED)],
    rounds=2,
)
