"""Independent random streams, each named by its purpose.

A trial has one seed. Initial weights, data order, dropout, splits and ties each have a separate stream, so a new use of
random numbers changes no other.
"""

from __future__ import annotations

import hashlib
import operator

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends only on the seed and the names.

    The same arguments give the same numbers in every process and Python version. Other arguments (another order, 1
    instead of "1") give an independent stream.

    Args:
        seed: an integer of 0 or more.
        *names: the purpose of the stream, e.g. `"ties", branch, level`.

    Returns:
        A new numpy generator (PCG64), at its start.

    Raises:
        TypeError: a seed that is not an integer, or a name that is neither a string nor an integer.
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
    # Names the bit generator, since default_rng may use another one in a later numpy.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))


def integer(seed: int, *names: str | int) -> int:
    """An integer in [0, 2**31) from the stream of these names, for libraries that take a seed.

    Args and errors: see `stream`.
    """
    return int(stream(seed, *names).integers(2**31))


def _encoded(name: str | int) -> bytes:
    """Type, length and text, so that ("ab", "c") and ("a", "bc"), and 1 and "1", differ."""
    if isinstance(name, str):
        kind, text = b"s", name.encode()
    else:
        try:
            kind, text = b"i", str(operator.index(name)).encode()
        except TypeError:
            raise TypeError(f"Expected names of streams that are strings or integers. Received: {name!r}.") from None
    return b"%s%d:%s" % (kind, len(text), text)
