"""Independent random streams, each named by what it decides.

A trial has one seed; its initial weights, data order, dropout, splits and ties each draw from a
stream of their own, so that one more consumer of randomness changes no other's numbers.
"""

from __future__ import annotations

import hashlib
import operator

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on the seed and all the names, and on nothing else.

    The same arguments give the same numbers in every process and Python version; any other
    arguments (another order, 1 instead of "1") give an independent stream.

    Args:
        seed: any integer from 0.
        *names: what the stream decides, e.g. `"ties", branch, level`.

    Returns:
        A fresh numpy generator (PCG64), at its start.

    Raises:
        TypeError: a seed that is no integer, or a name that is neither a string nor an integer.
        ValueError: a negative seed.

    Example:
    >>> first = stream(0, "ties", 3).random(4)
    >>> bool((first == stream(0, "ties", 3).random(4)).all())
    True
    """
    seed = operator.index(seed)
    if seed < 0:
        raise ValueError(f"Expected a seed of 0 or more. Received: {seed}.")
    # Python's own hash() of a string differs from process to process.
    digest = hashlib.sha256(b"".join(map(_encoded, names))).digest()
    words = tuple(int(word) for word in np.frombuffer(digest, dtype="<u4"))
    # The bit generator is named, since default_rng may change its own with a numpy release.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))


def integer(seed: int, *names: str | int) -> int:
    """An integer in [0, 2**31) from the stream of that name, for libraries that take a seed.

    Args and errors are those of `stream`.
    """
    return int(stream(seed, *names).integers(2**31))


def _encoded(name: str | int) -> bytes:
    """Type, length and text: ("ab", "c") and ("a", "bc"), 1 and "1" stay apart."""
    if isinstance(name, str):
        kind, text = b"s", name.encode()
    else:
        try:
            kind, text = b"i", str(operator.index(name)).encode()
        except TypeError:
            raise TypeError(f"Expected names of streams that are strings or integers. Received: {name!r}.") from None
    return b"%s%d:%s" % (kind, len(text), text)
