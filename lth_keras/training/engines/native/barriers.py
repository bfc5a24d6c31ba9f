"""Barriers, prefetching and rounding modes of the native kernel's threads."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from lth_keras.training.engines.native.vectors import place_of

LINE = 16
"""Numbers in a cache line of almost all processors; affects only the speed of prefetching."""
SPINS = 500
"""Polls of a barrier before a waiting thread yields its processor: about 20 microseconds."""
COMPILED: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Options of numba: functions that run in several threads must not hold Python's lock."""
COUNT, GENERATION, BARRIER = 0, 8, 16
"""Indices in a barrier, an int64 array of `BARRIER` zeros; each is in a separate cache line."""
ABORTED = -1
"""The generation of a barrier that not all threads will reach."""

_INT = ir.IntType(64)
_MACHINE = {"x86_64": "x86", "AMD64": "x86", "aarch64": "arm", "arm64": "arm"}.get(platform.machine(), "")
TINY_ARE_ZERO = {"x86": 0x8040, "arm": 1 << 24}.get(_MACHINE, 0)
"""Bits of `rounding` that replace numbers below 1e-38 by zero. Adam's moments of dead units pass through such numbers,
with which processors are a hundred times slower."""


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(context: Any, x: Any, at: Any) -> Any:
    """Prefetches a number's cache line without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        place = builder.bitcast(place_of(context, builder, signature, given, 0), cgutils.voidptr_t)
        read, second_cache, data = (ir.Constant(ir.IntType(32), number) for number in (0, 2, 1))
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), place, read, second_cache, data)
        return context.get_dummy_value()

    return types.void(x, types.int64), generate


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def fetch(x: Any, examples: Any, position: int, count: int) -> None:
    """Prefetches cache lines of the examples, counted row by row, up to the end of the examples."""
    lines = (x.shape[1] + LINE - 1) // LINE
    for line in range(position, min(position + count, len(examples) * lines)):
        _prefetch(x, examples[line // lines] * x.shape[1] + line % lines * LINE)


@intrinsic  # type: ignore[untyped-decorator]
def _add_atomic(context: Any, state: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        return builder.atomic_rmw("add", place_of(context, builder, signature, given, 0), given[2], "seq_cst")

    return types.int64(state, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _load_atomic(context: Any, state: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        return builder.load_atomic(place_of(context, builder, signature, given, 0), "acquire", 8)

    return types.int64(state, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store_atomic(context: Any, state: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        builder.store_atomic(given[2], place_of(context, builder, signature, given, 0), "release", 8)
        return context.get_dummy_value()

    return types.void(state, types.int64, types.int64), generate


def _call(builder: Any, name: str, result: Any, *given: Any) -> Any:
    """Calls an intrinsic function of LLVM."""
    kind = ir.FunctionType(result, [value.type for value in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)


@intrinsic  # type: ignore[untyped-decorator]
def _pause(context: Any) -> Any:
    """Executes the processor's pause instruction, which favours the other hyperthread; nothing if there is none."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        if _MACHINE == "x86":
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def rounding(context: Any) -> Any:
    """The processor's rounding mode in this thread, an integer for `set_rounding`."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        if _MACHINE == "arm":
            return _call(builder, "llvm.aarch64.get.fpcr", _INT)
        if _MACHINE == "x86":
            word = cgutils.alloca_once(builder, ir.IntType(32))
            _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), builder.bitcast(word, cgutils.voidptr_t))
            return builder.zext(builder.load(word), _INT)
        return ir.Constant(_INT, 0)

    return types.int64(), generate


@intrinsic  # type: ignore[untyped-decorator]
def set_rounding(context: Any, how: Any) -> Any:
    """Sets this thread's rounding mode."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        if _MACHINE == "arm":
            _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), given[0])
        if _MACHINE == "x86":
            word = cgutils.alloca_once_value(builder, builder.trunc(given[0], ir.IntType(32)))
            _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), builder.bitcast(word, cgutils.voidptr_t))
        return context.get_dummy_value()

    return types.void(types.int64), generate


_give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def wait(barrier: Any, threads: int) -> bool:
    """Waits until this number of threads wait; afterwards all see what the others wrote before.

    Returns:
        Whether all threads arrived; False if `ABORTED` replaced the generation before.
    """
    if threads == 1:
        return True
    generation = _load_atomic(barrier, GENERATION)
    if _add_atomic(barrier, COUNT, 1) == threads - 1:
        _store_atomic(barrier, COUNT, 0)
        _store_atomic(barrier, GENERATION, generation + 1)
        return True
    looks, now = 0, generation
    while now == generation and now != ABORTED:
        looks += 1
        if looks < SPINS:
            _pause()
        else:
            _give_way()
        now = _load_atomic(barrier, GENERATION)
    return now != ABORTED
