"""What must be set before the first test imports keras, and what tests of several rooms need."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # what tests compile again and again, once for all their processes
    _cache = tempfile.TemporaryDirectory(prefix="jax_")  # removed with the interpreter
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.fixture
def bound_by_permissions() -> Iterator[None]:
    """Permissions bind this thread within it, even the super-user's: it does without CAP_DAC_OVERRIDE."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("permissions do not bind the super-user here")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface; the calling thread
    before, without = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    libc.capget(header, before)
    libc.capget(header, without)
    without[0] &= ~0b110  # of what is in effect: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, without) == 0, os.strerror(ctypes.get_errno())
    yield
    assert libc.capset(header, before) == 0, os.strerror(ctypes.get_errno())
