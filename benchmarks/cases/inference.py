"""Forward passes of pruned networks: Keras before and after compaction, and the runtimes that exported files go to."""

from __future__ import annotations

from functools import partial

from benchmarks.harness import Case, Contender
from benchmarks.runtimes import SPARSE, TICKET, serve
from benchmarks.served import DENSE, FILES, NETWORKS, PRUNINGS, prepare, stem

PACKAGES = {
    DENSE: "tensorflow",
    "Keras, compacted": "tensorflow",
    "LiteRT": "ai_edge_litert",
    "LiteRT, int8": "ai_edge_litert",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
    TICKET: "numpy",
    SPARSE: "tensorflow",
}
"""What must be installed for each."""
UNPRUNED = next(iter(PRUNINGS))
BASE = f"{UNPRUNED}: {DENSE}"


def contenders(network: str, small: bool) -> dict[str, Contender]:
    """Every runtime with every pruning; dense Keras, whose speed does not depend on zeros, with one."""
    return {
        f"{pruning}: {runtime}": Contender(
            PACKAGES[runtime], serve, (f"{stem(pruning)}.{FILES[runtime]}", runtime, small)
        )
        for pruning in NETWORKS[network].prunings
        for runtime in NETWORKS[network].runtimes
        if runtime != DENSE or pruning == UNPRUNED
    }


def case(network: str) -> Case:
    """The case of a network of `NETWORKS`."""
    return Case(
        f"Inference: {NETWORKS[network].title}",
        "The network is pruned by magnitude to the same density in each layer, or by channels, or 2:4; biases and "
        "statistics are random, weights as initialised. Each file but that of dense Keras holds the compacted network. "
        "Two threads; the median time of a forward pass. Difference: the largest to an output of the masked model, for "
        "64 examples. Sizes of `.keras` files are of weights alone, without an optimiser.",
        partial(contenders, network),
        lambda small: "random inputs",
        [(name, BASE) for name in contenders(network, False) if name != BASE and TICKET not in name],
        rounds=3,
        prepare=partial(prepare, network),
    )


CASES = {f"inference_{name}": case(name) for name in NETWORKS}
