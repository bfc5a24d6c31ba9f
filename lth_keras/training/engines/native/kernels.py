"""Products of small matrices and the optimiser's updates in registers, compiled by LLVM for this machine.

The order of sums does not depend on the number of threads, so neither do the results' bits.

Arrays are flat, contiguous and float32; indices count numbers. Callers pad columns with zeros to vectors of `LANES`,
and rows to tiles of `ROWS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from lth_keras.training.engines.native.barriers import COMPILED, fetch
from lth_keras.training.engines.native.layout import LANES, ROWS
from lth_keras.training.engines.native.vectors import NUMBERS, RULES, VECTOR, Rule, Vectors, array_of, place_of

VECTORS = 3 if llvm.get_host_cpu_features().get("avx512f") else 1
"""The most vectors of a tile: 6 x 3 of 512 bits are 18 of 32 registers, 6 x 1 of twice 256 bits 12 of 16."""
DEPTH = 128
"""Rows of the right factor that are multiplied at a time, so that they stay in the first-level cache."""

_INT = ir.IntType(64)


def _make_product(vectors: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def product(context: Any, c: Any, at_c: Any, row_c: Any, a: Any, at_a: Any, row_a: Any, b: Any, at_b: Any,
                row_b: Any, depth: Any, fresh: Any) -> Any:  # fmt: skip
        """Sets the tile of c at `at_c` to (adds to it, unless `fresh`) `depth` columns of a times rows of b."""
        place = types.int64
        signature = types.void(c, place, place, a, place, place, b, place, place, place, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            pointers = [place_of(context, builder, signature, given, i) for i in (0, 3, 6)]
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
        """Updates the tile of weights at `at` with its gradient, columns of a (transposed) times rows of b."""
        place, number = types.int64, types.float32
        places = (place, place, a, place, place, b, place, place, place)
        signature = types.void(weights, first, second, kept, *places, *[number] * NUMBERS)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            at, row, row_a, row_b, depth = given[4], given[5], given[8], given[11], given[12]
            arrays = [array_of(context, builder, signature, given, i) for i in range(1 + rule.slots)]
            bits = array_of(context, builder, signature, given, 3)
            a, b = (place_of(context, builder, signature, given, i) for i in (6, 9))
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


def _offset(builder: Any, row: Any, i: int, j: int) -> Any:
    return builder.add(builder.mul(row, ir.Constant(_INT, i)), ir.Constant(_INT, LANES * j))


def _tile(builder: Any, pointer: Any, row: Any, i: int, j: int) -> Any:
    return builder.gep(pointer, [_offset(builder, row, i, j)])


def transposed(v: Vectors, rows: list[Any]) -> list[Any]:
    """The columns of `LANES` vectors, as vectors."""
    for _ in range(LANES.bit_length() - 1):
        pairs = [v.interleave(rows[i], rows[i + LANES // 2]) for i in range(LANES // 2)]
        rows = [row for pair in pairs for row in pair]
    return rows


@intrinsic  # type: ignore[untyped-decorator]
def transpose(context: Any, c: Any, at_c: Any, row_c: Any, a: Any, at_a: Any, row_a: Any) -> Any:
    """Writes the LANES x LANES numbers of a at `at_a` to c, transposed."""
    place = types.int64
    signature = types.void(c, place, place, a, place, place)

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        to, source = (place_of(context, builder, signature, given, i) for i in (0, 3))
        v = Vectors(builder)
        rows = [v.load(_tile(builder, source, given[5], i, 0)) for i in range(LANES)]
        for i, row in enumerate(transposed(v, rows)):
            v.store(row, _tile(builder, to, given[2], i, 0))
        return context.get_dummy_value()

    return signature, generate


_product_1, _product_2, _product_3 = (_make_product(vectors) for vectors in (1, 2, 3))


@njit(**COMPILED)  # type: ignore[untyped-decorator]
def multiply(
    c: Any, at_c: int, row_c: int, a: Any, at_a: int, row_a: int, b: Any, at_b: int, row_b: int, depth: int,
    tiles: int, vectors: int,
) -> None:  # fmt: skip
    """Sets tiles of c, one below the other, to rows of a times columns of b.

    c has `tiles * ROWS` rows of `vectors` vectors, at most `VECTORS`; a has as many rows of `depth` numbers, and b has
    `depth` rows of `vectors` vectors. Their first rows are at the indices `at_c`, `at_a` and `at_b`, at distances
    `row_c`, `row_a` and `row_b`.
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
    """The function that updates tiles of weights by an optimiser of `RULES`."""
    update_1, update_2, update_3 = (_make_update(vectors, RULES[rule]) for vectors in (1, 2, 3))

    @njit(**COMPILED)  # type: ignore[untyped-decorator]
    def update(
        weights: Any, first: Any, second: Any, kept: Any, at: int, row: int, a: Any, at_a: int, row_a: int, b: Any,
        at_b: int, row_b: int, depth: int, tiles: int, vectors: int, numbers: Any, x: Any, examples: Any, line: int,
        lines: int,
    ) -> None:  # fmt: skip
        """Updates `tiles * ROWS` rows of `vectors` vectors of weights.

        Their gradient is `depth` columns of a times rows of b.

        `first` and `second` are the optimiser's slots; `kept` has a bit for each weight. For each tile, `lines` cache
        lines of the next examples are prefetched, from `line` on.
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
