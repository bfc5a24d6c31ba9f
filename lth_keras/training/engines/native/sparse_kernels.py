"""Products with the kept weights of a layer, with the examples of a batch in registers; compiled by LLVM.

Activations and gradients are flat: for each unit, `vectors * LANES` examples. Weights, their sources and other indices
are those of `SparseLayout`. The order of sums depends on neither threads nor the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lth_keras.training.engines.native.kernels import transposed
from lth_keras.training.engines.native.layout import LANES
from lth_keras.training.engines.native.vectors import RULES, Vectors, array_of, place_of

MOST_VECTORS = 4
"""The most vectors of examples at a time: 64 examples, whose sums take half of the registers or fewer."""
FOLDED = 4
"""Numbers that a weight's gradient is folded to before `make_update` adds them for a whole vector of weights."""

_INT = ir.IntType(64)


class Products(NamedTuple):
    """The products for one number of vectors of examples.

    Attributes:
        gather: reads examples as columns.
        forward: a unit's activations.
        backward: the gradient with respect to a unit's output.
        fold: a unit's activations times the gradients of another: the gradients of a column of weights, folded.
    """

    gather: Any
    forward: Any
    backward: Any
    fold: Any


@cache
def make_products(vectors: int) -> Products:
    """The products for this number of vectors of examples."""
    width = ir.Constant(_INT, vectors * LANES)
    place = types.int64

    def row(builder: Any, array: Any, unit: Any) -> Any:
        return builder.gep(array, [builder.mul(unit, width)])

    def read(builder: Any, array: Any, index: Any) -> Any:
        """A number of an int32 array as an index."""
        return builder.sext(builder.load(builder.gep(array, [index])), _INT)

    def part(builder: Any, pointer: Any, vector: int) -> Any:
        return builder.gep(pointer, [ir.Constant(_INT, LANES * vector)])

    def add_products(builder: Any, sums: list[Any], weight: Any, values: Any) -> None:
        v = Vectors(builder)
        left = v.splat(weight)
        for vector, total in enumerate(sums):
            right = v.load(part(builder, values, vector))
            builder.store(v.multiply_add(left, right, builder.load(total)), total)

    def zeros(builder: Any) -> list[Any]:
        v = Vectors(builder)
        sums = [cgutils.alloca_once(builder, v.constant(0.0).type) for _ in range(vectors)]
        for total in sums:
            builder.store(v.constant(0.0), total)
        return sums

    @intrinsic  # type: ignore[untyped-decorator]
    def gather(context: Any, values: Any, at: Any, x: Any, inputs: Any, column: Any, order: Any, first: Any) -> Any:
        """Copies `LANES` columns of the examples `order[first:]` to the rows of values from `at` on."""
        signature = types.void(values, place, x, place, place, order, place)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            v, to = Vectors(builder), place_of(context, builder, signature, given, 0)
            x, order = (array_of(context, builder, signature, given, i) for i in (2, 5))
            inputs, column, first = given[3], given[4], given[6]
            for vector in range(vectors):
                rows = []
                for i in range(LANES):
                    example = read(builder, order, builder.add(first, ir.Constant(_INT, vector * LANES + i)))
                    at = builder.add(builder.mul(example, inputs), column)
                    rows.append(v.load(builder.gep(x, [at])))
                for i, column_of in enumerate(transposed(v, rows)):
                    place_there = builder.mul(width, ir.Constant(_INT, i))
                    v.store(column_of, part(builder, builder.gep(to, [place_there]), vector))
            return context.get_dummy_value()

        return signature, generate

    @intrinsic  # type: ignore[untyped-decorator]
    def forward(context: Any, values: Any, at: Any, weights: Any, sources: Any, unit: Any, begin: Any, end: Any,
                relu: Any) -> Any:  # fmt: skip
        """Sets the activations of a unit from its weights from `begin` to `end`."""
        signature = types.void(values, place, weights, sources, place, place, place, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            values = place_of(context, builder, signature, given, 0)
            weights, sources = (array_of(context, builder, signature, given, i) for i in (2, 3))
            unit, begin, end, relu = given[4:]
            v, sums = Vectors(builder), zeros(builder)
            with cgutils.for_range(builder, end, start=begin) as loop:
                weight = builder.load(builder.gep(weights, [loop.index]))
                add_products(builder, sums, weight, row(builder, values, read(builder, sources, loop.index)))
            to, zero = row(builder, values, unit), v.constant(0.0)
            for vector, total in enumerate(sums):
                value = builder.load(total)
                negative = builder.fcmp_ordered("<=", value, zero)  # keeps NaN
                value = builder.select(relu, builder.select(negative, zero, value), value)
                v.store(value, part(builder, to, vector))
            return context.get_dummy_value()

        return signature, generate

    @intrinsic  # type: ignore[untyped-decorator]
    def backward(context: Any, values: Any, gradients: Any, at: Any, weights: Any, to: Any, places: Any, unit: Any,
                 begin: Any, end: Any, relu: Any) -> Any:  # fmt: skip
        """Sets the gradient of a unit from entries of its row."""
        signature = types.void(values, gradients, place, weights, to, places, place, place, place, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            at, (unit, begin, end, relu) = given[2], given[6:]
            values, gradients = (builder.gep(array_of(context, builder, signature, given, i), [at]) for i in (0, 1))
            weights, to, places = (array_of(context, builder, signature, given, i) for i in (3, 4, 5))
            v, sums = Vectors(builder), zeros(builder)
            with cgutils.for_range(builder, end, start=begin) as loop:
                weight = builder.load(builder.gep(weights, [read(builder, places, loop.index)]))
                add_products(builder, sums, weight, row(builder, gradients, read(builder, to, loop.index)))
            own, into, zero = row(builder, values, unit), row(builder, gradients, unit), v.constant(0.0)
            for vector, total in enumerate(sums):
                off = builder.fcmp_ordered("<=", v.load(part(builder, own, vector)), zero)
                value = builder.load(total)
                v.store(builder.select(builder.and_(v.truth(relu), off), zero, value), part(builder, into, vector))
            return context.get_dummy_value()

        return signature, generate

    @intrinsic  # type: ignore[untyped-decorator]
    def fold(context: Any, values: Any, gradients: Any, at: Any, sources: Any, unit: Any, begin: Any, end: Any,
             folded: Any, to: Any, fresh: Any) -> Any:  # fmt: skip
        """Sets `FOLDED` numbers for each weight from `begin` to `end`, or adds to them unless `fresh`.

        Their sum is the gradient of the weight, which leads to `unit`.
        """
        signature = types.void(values, gradients, place, sources, place, place, place, folded, place, types.boolean)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            at, unit, begin, end, fresh = given[2], *given[4:7], given[9]
            values, gradients = (builder.gep(array_of(context, builder, signature, given, i), [at]) for i in (0, 1))
            sources = array_of(context, builder, signature, given, 3)
            folded = place_of(context, builder, signature, given, 7)
            v = Vectors(builder)
            own = row(builder, gradients, unit)
            left = [v.load(part(builder, own, vector)) for vector in range(vectors)]
            with cgutils.for_range(builder, end, start=begin) as loop:
                right = row(builder, values, read(builder, sources, loop.index))
                total = v.multiply(left[0], v.load(right))
                for vector in range(1, vectors):
                    total = v.multiply_add(left[vector], v.load(part(builder, right, vector)), total)
                number = builder.mul(builder.sub(loop.index, begin), ir.Constant(_INT, FOLDED))
                place_there = builder.gep(folded, [number])
                few, before = v.folded(total, FOLDED), v.load(place_there, FOLDED)
                v.store(builder.select(fresh, few, builder.fadd(few, before)), place_there)
            return context.get_dummy_value()

        return signature, generate

    return Products(gather, forward, backward, fold)


@cache
def make_sparse_update(rule: str) -> Any:
    """The function that updates a vector of weights by an optimiser of `RULES`."""
    slots, emit = RULES[rule]

    @intrinsic  # type: ignore[untyped-decorator]
    def update(context: Any, weights: Any, first: Any, second: Any, at: Any, folded: Any, source: Any, n0: Any, n1: Any,
               n2: Any, n3: Any) -> Any:  # fmt: skip
        """Updates the vector of weights at `at`, whose gradients are the sums of `FOLDED` numbers at `source`."""
        place, number = types.int64, types.float32
        signature = types.void(weights, first, second, place, folded, place, *[number] * 4)

        def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
            v, at = Vectors(builder), given[3]
            folded = place_of(context, builder, signature, given, 4)
            parts = [v.load(builder.gep(folded, [ir.Constant(_INT, LANES * i)])) for i in range(FOLDED)]
            while len(parts) > 1:
                parts = [v.pair_sums(*parts[i : i + 2]) for i in range(0, len(parts), 2)]
            arrays = [array_of(context, builder, signature, given, i) for i in range(1 + slots)]
            pointers = [builder.gep(array, [at]) for array in arrays]
            weight, *kept = map(v.load, pointers)
            weight, kept = emit(v, parts[0], weight, kept, [v.splat(one) for one in given[6:]])
            for value, pointer in zip((weight, *kept), pointers, strict=True):
                v.store(value, pointer)
            return context.get_dummy_value()

        return signature, generate

    return update
