"""What the C library's allocator has handed out."""

from __future__ import annotations

import ctypes
import sys

_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Information(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS.split()]  # as ctypes has it


def held_bytes() -> int | None:
    """The bytes that are handed out and not given back, touched or not; None without glibc 2.33 or newer.

    Resident memory beside it has what is free in the allocator's pieces, and the program itself.
    """
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if ask is None:
        return None
    ask.restype = _Information
    information = ask()
    return int(information.uordblks + information.hblkhd)
