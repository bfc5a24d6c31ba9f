"""The cases by name, one per file."""

from benchmarks.cases import agreement, compact, embedding, inference, memory_levels, networks, sparse, speed, tickets

CASES = {
    "speed": speed.CASE,
    "tickets": tickets.CASE,
    "embedding": embedding.CASE,
    "agreement": agreement.CASE,
    "compact": compact.CASE,
    "memory_levels": memory_levels.CASE,
    "networks": networks.CASE,
    "sparse": sparse.CASE,
    **inference.CASES,
}

__all__ = ["CASES"]
