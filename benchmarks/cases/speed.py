"""Training LeNet-300-100: the compiled and the native engine, Keras' fit, and PyTorch."""

from __future__ import annotations

from benchmarks.harness import Case, Contender
from benchmarks.subjects import data_name
from benchmarks.torch_loop import torch_speed
from benchmarks.ways import fit_speed, search_speed

STEPS = 5_000
FIT, TUNED = "Keras fit", "Keras fit, compiled, 50 steps a call"
EAGER, COMPILED = "PyTorch, eager", "PyTorch, compiled"
BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax"}
OURS = [f"{engine}, {name}" for name in BACKENDS for engine in ("compiled engine", "native engine")]
EVALUATED = ", with evaluations"
OURS_ON_TORCH = "compiled engine, PyTorch"


def contenders(small: bool) -> dict[str, Contender]:
    """This library's engines with and without evaluations, on both backends, and their alternatives."""
    steps = 8 if small else STEPS
    found = {}
    for name in OURS:
        engine, _, backend = name.replace(" engine", "").partition(", ")
        for ending, evaluations in (("", False), (EVALUATED, True)):
            arguments = ("lenet", small, steps, engine)
            options = {"evaluations": evaluations}
            found[name + ending] = Contender(BACKENDS[backend], search_speed, arguments, options)
    found[OURS_ON_TORCH] = Contender("torch", search_speed, ("lenet", small, steps, "compiled"))
    execution = {"jit_compile": True, "steps_per_execution": min(steps, 50)}
    found[FIT] = Contender("tensorflow", fit_speed, ("lenet", small, steps))
    found[TUNED] = Contender("tensorflow", fit_speed, ("lenet", small, steps), execution)
    found[EAGER] = Contender("torch", torch_speed, (small, steps, "eager"))
    found[COMPILED] = Contender("torch", torch_speed, (small, steps, "compiled"))
    return found


CASE = Case(
    "Training speed",
    f"LeNet-300-100, batches of 60, Adam, turns of {STEPS:,} steps. This library trains masked layers in a search; "
    "with evaluations it evaluates 5,000 examples every 100 steps and 10,000 every 1,000, as experiments do. Keras fit "
    "is the plain model as a user writes it, and with `jit_compile=True, steps_per_execution=50`. PyTorch has its data "
    "as tensors and masked gradients, with autograd and as one step written out for `torch.compile`.",
    contenders,
    data_name("lenet"),
    [(ours + ending, to) for ours in OURS for ending in ("", EVALUATED) for to in (FIT, TUNED, EAGER, COMPILED)]
    + [(f"native engine, {name}", f"compiled engine, {name}") for name in BACKENDS]
    + [(f"compiled engine, {name}", OURS_ON_TORCH) for name in BACKENDS]
    + [(OURS_ON_TORCH, to) for to in (FIT, EAGER)],
)
