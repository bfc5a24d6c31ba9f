"""Products of small matrices and what follows them in registers, compiled by LLVM for this machine.

Sums run over the same index in the same order on any number of threads, so bits do not depend on it.

Arrays are flat, contiguous and float32, and places in them are counted in numbers. Columns come in vectors of `LANES`,
rows in tiles of `ROWS`: whoever has other numbers of them pads with zeros.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from lth_keras.training.fused_layout import LANES, ROWS
from lth_keras.training.fused_vectors import NUMBERS, RULES, VECTOR, Rule, Vectors

VECTORS = 3 if llvm.get_host_cpu_features().get("avx512f") else 1
"""The most vectors of a tile: 6 x 3 of 512 bits are 18 of 32 registers, 6 x 1 of twice 256 bits 12 of 16."""
DEPTH = 128
"""Rows of the right factor that are multiplied at a time, so that they stay in the first cache."""
LINE = 16
"""Numbers of a cache line, as almost all processors have it: what is fetched ahead is a matter of speed alone."""
SPINS = 500
"""Looks at a barrier after which a waiting thread lets others have its processor: some 20 microseconds."""
COMPILED: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""How numba compiles: what runs beside each other must not hold Python's lock."""
COUNT, GENERATION, BARRIER = 0, 8, 16
"""Places in a barrier, an int64 array of `BARRIER` zeros: in cache lines of their own."""
GONE = -1
"""The generation of a barrier to which not all threads will come."""

_INT = ir.IntType(64)
_MACHINE = {"x86_64": "x86", "AMD64": "x86", "aarch64": "arm", "arm64": "arm"}.get(platform.machine(), "")
TINY_ARE_ZERO = {"x86": 0x8040, "arm": 1 << 24}.get(_MACHINE, 0)
"""Bits of `rounding` by which numbers below 1e-38 are zeros. Adam's moments of a unit that has died pass through those,
and processors take a hundred times as long for each."""


def _make_product(vectors: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def product(context: Any, c: Any, at_c: Any, row_c: Any, a: Any, at_a: Any, row_a: Any, b: Any, at_b: Any,
                row_b: Any, depth: Any, fresh: Any) -> Any:  # fmt: skip
        """The tile of c at `at_c` becomes, or where not `fresh` grows by, `depth` columns of a times rows of b."""
        place = types.int64
        signature = types.void(c, place, place, a, place, place, b, place, place, place, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            pointers = [_pointer(context, builder, signature, given, i) for i in (0, 3, 6)]
            row_c, row_a, row_b, depth, fresh = given[2], given[5], given[8], given[9], given[10]
            v, sums = Vectors(builder), _sums(builder, vectors)
            with builder.if_else(fresh) as (then, otherwise):
                with then:
                    for *_, total in _each(sums):
                        builder.store(v.constant(0.0), total)
                with otherwise:
                    for i, j, total in _each(sums):
                        builder.store(v.load(_tile(builder, pointers[0], row_c, i, j)), total)
            _multiply(v, sums, pointers[1], row_a, ir.Constant(_INT, 1), pointers[2], row_b, depth)
            for i, j, total in _each(sums):
                v.store(builder.load(total), _tile(builder, pointers[0], row_c, i, j))
            return context.get_dummy_value()

        return signature, generate

    return product


def _make_update(vectors: int, rule: Rule) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def update(context: Any, weights: Any, first: Any, second: Any, kept: Any, at: Any, row: Any, a: Any, at_a: Any,
               row_a: Any, b: Any, at_b: Any, row_b: Any, depth: Any, n0: Any, n1: Any, n2: Any,
               n3: Any) -> Any:  # fmt: skip
        """Moves the tile of weights at `at` by its gradient, columns of a (transposed) times rows of b."""
        place, number = types.int64, types.float32
        places = (place, place, a, place, place, b, place, place, place)
        signature = types.void(weights, first, second, kept, *places, *[number] * NUMBERS)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            at, row, row_a, row_b, depth = given[4], given[5], given[8], given[11], given[12]
            arrays = [_array(context, builder, signature, given, i) for i in range(1 + rule.slots)]
            bits = _array(context, builder, signature, given, 3)
            a, b = (_pointer(context, builder, signature, given, i) for i in (6, 9))
            v, sums = Vectors(builder), _sums(builder, vectors)
            for *_, total in _each(sums):
                builder.store(v.constant(0.0), total)
            _multiply(v, sums, a, ir.Constant(_INT, 1), row_a, b, row_b, depth)
            numbers = [v.splat(number) for number in given[13:]]
            for i, j, total in _each(sums):
                here = builder.add(at, _offset(builder, row, i, j))
                pointers = [builder.gep(array, [here]) for array in arrays]
                weight, *slots = map(v.load, pointers)
                weight, slots = rule.emit(v, builder.load(total), weight, slots, numbers)
                word = builder.load(builder.gep(bits, [builder.udiv(here, ir.Constant(_INT, LANES))]))
                alive = builder.bitcast(word, ir.VectorType(ir.IntType(1), LANES))
                weight = builder.select(alive, weight, v.constant(0.0))
                for value, pointer in zip((weight, *slots), pointers, strict=True):
                    v.store(value, pointer)
            return context.get_dummy_value()

        return signature, generate

    return update


def _multiply(
    v: Vectors, sums: list[list[Any]], a: Any, row_a: Any, next_a: Any, b: Any, next_b: Any, depth: Any
) -> None:
    """Adds to each sum i, j the numbers a[i * row_a + r * next_a] times the vectors b[r * next_b + j], r in order."""
    builder = v.builder
    at_a, at_b = cgutils.alloca_once_value(builder, a), cgutils.alloca_once_value(builder, b)
    with cgutils.for_range(builder, depth):
        a, b = builder.load(at_a), builder.load(at_b)
        right = [v.load(builder.gep(b, [ir.Constant(_INT, LANES * j)])) for j in range(len(sums[0]))]
        for i, row in enumerate(sums):
            left = v.splat(builder.load(builder.gep(a, [builder.mul(row_a, ir.Constant(_INT, i))])))
            for vector, total in zip(right, row, strict=True):
                builder.store(v.multiply_add(left, vector, builder.load(total)), total)
        builder.store(builder.gep(a, [next_a]), at_a)
        builder.store(builder.gep(b, [next_b]), at_b)


def _sums(builder: Any, vectors: int) -> list[list[Any]]:
    """Variables for the vectors of a tile, which LLVM keeps in registers."""
    return [[cgutils.alloca_once(builder, VECTOR) for _ in range(vectors)] for _ in range(ROWS)]


def _each(sums: list[list[Any]]) -> list[tuple[int, int, Any]]:
    return [(i, j, total) for i, row in enumerate(sums) for j, total in enumerate(row)]


def _array(context: Any, builder: Any, signature: Any, given: Sequence[Any], i: int) -> Any:
    """Where the numbers of an argument begin, an array."""
    return context.make_array(signature.args[i])(context, builder, given[i]).data


def _pointer(context: Any, builder: Any, signature: Any, given: Sequence[Any], i: int) -> Any:
    """Where a place in an argument is, which is the next argument."""
    return builder.gep(_array(context, builder, signature, given, i), [given[i + 1]])


def _offset(builder: Any, row: Any, i: int, j: int) -> Any:
    return builder.add(builder.mul(row, ir.Constant(_INT, i)), ir.Constant(_INT, LANES * j))


def _tile(builder: Any, pointer: Any, row: Any, i: int, j: int) -> Any:
    return builder.gep(pointer, [_offset(builder, row, i, j)])


@intrinsic  # type: ignore[untyped-decorator]
def transpose(context: Any, c: Any, at_c: Any, row_c: Any, a: Any, at_a: Any, row_a: Any) -> Any:
    """Puts the LANES x LANES numbers of a at `at_a` into c, transposed."""
    place = types.int64
    signature = types.void(c, place, place, a, place, place)

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        to, source = (_pointer(context, builder, signature, given, i) for i in (0, 3))
        v = Vectors(builder)
        rows = [v.load(_tile(builder, source, given[5], i, 0)) for i in range(LANES)]
        for _ in range(LANES.bit_length() - 1):
            pairs = [v.interleave(rows[i], rows[i + LANES // 2]) for i in range(LANES // 2)]
            rows = [row for pair in pairs for row in pair]
        for i, row in enumerate(rows):
            v.store(row, _tile(builder, to, given[2], i, 0))
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def _prefetch(context: Any, x: Any, at: Any) -> Any:
    """Has the processor fetch a number's cache line, and does not wait for it."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        place = builder.bitcast(_pointer(context, builder, signature, given, 0), cgutils.voidptr_t)
        read, second_cache, data = (ir.Constant(ir.IntType(32), number) for number in (0, 2, 1))
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), place, read, second_cache, data)
        return context.get_dummy_value()

    return types.void(x, types.int64), generate


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def fetch(x: Any, examples: Any, position: int, count: int) -> None:
    """Has the processor fetch some lines of the examples, which are counted row by row; none behind their end."""
    lines = (x.shape[1] + LINE - 1) // LINE
    for line in range(position, min(position + count, len(examples) * lines)):
        _prefetch(x, examples[line // lines] * x.shape[1] + line % lines * LINE)


@intrinsic  # type: ignore[untyped-decorator]
def _add_atomic(context: Any, state: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        return builder.atomic_rmw("add", _pointer(context, builder, signature, given, 0), given[2], "seq_cst")

    return types.int64(state, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _load_atomic(context: Any, state: Any, at: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, given, 0), "acquire", 8)

    return types.int64(state, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store_atomic(context: Any, state: Any, at: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        builder.store_atomic(given[2], _pointer(context, builder, signature, given, 0), "release", 8)
        return context.get_dummy_value()

    return types.void(state, types.int64, types.int64), generate


def _call(builder: Any, name: str, result: Any, *given: Any) -> Any:
    """Calls an intrinsic function of LLVM."""
    kind = ir.FunctionType(result, [value.type for value in given])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)


@intrinsic  # type: ignore[untyped-decorator]
def _pause(context: Any) -> Any:
    """Tells the processor that it waits, so that its other hyperthread gets on; nothing where that is not known."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        if _MACHINE == "x86":
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def rounding(context: Any) -> Any:
    """How this thread rounds, as the processor says it: an integer for `set_rounding`."""

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
    """Makes this thread round so."""

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
    """Returns when so many threads wait; what they wrote before is there for all of them after.

    Returns:
        Whether they came: not where `GONE` is put in place of the generation, before all have met for the first time.
    """
    if threads == 1:
        return True
    generation = _load_atomic(barrier, GENERATION)
    if _add_atomic(barrier, COUNT, 1) == threads - 1:
        _store_atomic(barrier, COUNT, 0)
        _store_atomic(barrier, GENERATION, generation + 1)
        return True
    looks, now = 0, generation
    while now == generation and now != GONE:
        looks += 1
        if looks < SPINS:
            _pause()
        else:
            _give_way()
        now = _load_atomic(barrier, GENERATION)
    return now != GONE


_product_1, _product_2, _product_3 = (_make_product(vectors) for vectors in (1, 2, 3))


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def multiply(
    c: Any, at_c: int, row_c: int, a: Any, at_a: int, row_a: int, b: Any, at_b: int, row_b: int, depth: int,
    tiles: int, vectors: int,
) -> None:  # fmt: skip
    """Tiles of c, one below the other, become rows of a times columns of b.

    Args:
        c: gets `tiles * ROWS` rows of `vectors` vectors, from `at_c` on, each `row_c` behind the one before.
        at_c: where the first of them begins.
        row_c: from row to row.
        a: has as many rows of `depth` numbers.
        at_a: likewise.
        row_a: likewise.
        b: has `depth` rows of `vectors` vectors.
        at_b: likewise.
        row_b: likewise.
        depth: what sums run over.
        tiles: how many.
        vectors: from 1 to `VECTORS`.
    """
    for start in range(0, depth, DEPTH):
        part, at = min(DEPTH, depth - start), at_b + start * row_b
        for tile in range(tiles):
            to, source = at_c + tile * ROWS * row_c, at_a + tile * ROWS * row_a + start
            if vectors == 3:
                _product_3(c, to, row_c, a, source, row_a, b, at, row_b, part, start == 0)
            elif vectors == 2:
                _product_2(c, to, row_c, a, source, row_a, b, at, row_b, part, start == 0)
            else:
                _product_1(c, to, row_c, a, source, row_a, b, at, row_b, part, start == 0)


@cache
def make_update(rule: str) -> Any:
    """The function that moves tiles of weights by their gradient as an optimiser does, one of `RULES`."""
    update_1, update_2, update_3 = (_make_update(vectors, RULES[rule]) for vectors in (1, 2, 3))

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def update(
        weights: Any, first: Any, second: Any, kept: Any, at: int, row: int, a: Any, at_a: int, row_a: int, b: Any,
        at_b: int, row_b: int, depth: int, tiles: int, vectors: int, numbers: Any, x: Any, examples: Any, line: int,
        lines: int,
    ) -> None:  # fmt: skip
        """Moves `tiles * ROWS` rows of `vectors` vectors of weights by columns of a times rows of b, `depth` of each.

        `first` and `second` are the optimiser's, beside the weights; `kept` has a bit for each weight. Meanwhile so
        many lines of the next examples are fetched for each tile, from this one on.
        """
        n0, n1, n2, n3 = numbers[0], numbers[1], numbers[2], numbers[3]
        for tile in range(tiles):
            to, source = at + tile * ROWS * row, at_a + tile * ROWS
            fetch(x, examples, line + tile * lines, lines)
            if vectors == 3:
                update_3(weights, first, second, kept, to, row, a, source, row_a, b, at_b, row_b, depth, n0, n1, n2, n3)
            elif vectors == 2:
                update_2(weights, first, second, kept, to, row, a, source, row_a, b, at_b, row_b, depth, n0, n1, n2, n3)
            else:
                update_1(weights, first, second, kept, to, row, a, source, row_a, b, at_b, row_b, depth, n0, n1, n2, n3)

    return update
