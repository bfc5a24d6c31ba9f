"""Arithmetic on vectors of float32 numbers in LLVM, and optimisers' update rules.

The order of operations is fixed, with fused multiply-adds and without instructions whose rounding depends on the
processor, so results are bit-identical on all processors and vector widths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from lth_keras.training.engines.native.layout import LANES

NUMBERS = 4
"""The number of a step's numbers for a rule; a rule uses the first ones."""

FLOAT, VECTOR = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
_BITS = ir.VectorType(ir.IntType(32), LANES)


class Vectors:
    """Emits operations on vectors of `LANES` float32 numbers."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.add, self.subtract, self.multiply = builder.fadd, builder.fsub, builder.fmul

    def load(self, pointer: Any, lanes: int = LANES) -> Any:
        """The vector at an address, aligned or not."""
        kind = ir.VectorType(FLOAT, lanes)
        return self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()), align=4)

    def store(self, vector: Any, pointer: Any) -> None:
        """Writes a vector of any number of lanes to an address."""
        self.builder.store(vector, self.builder.bitcast(pointer, vector.type.as_pointer()), align=4)

    def splat(self, number: Any) -> Any:
        """A vector of one number."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(_BITS, [0] * LANES))

    def constant(self, number: float) -> Any:
        """A vector of one constant."""
        return ir.Constant(VECTOR, [float(np.float32(number))] * LANES)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """The product of `a` and `b` plus `c`, rounded once."""
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.fma.v{LANES}f32")
        return self.builder.call(function, [a, b, c])

    def square_root(self, x: Any) -> Any:
        """The square root of non-negative numbers, to about one unit in the last place.

        Computed as x times its inverse square root, by Newton's method from an estimate by the bits of a float, in a
        third of the time of the instruction.
        """
        least = self.constant(1e-37)  # below it the square of the inverse overflows
        clipped = self.builder.select(self.builder.fcmp_ordered("<", x, least), least, x)
        half = self.builder.lshr(self.builder.bitcast(clipped, _BITS), ir.Constant(_BITS, [1] * LANES))
        guess = self.builder.sub(ir.Constant(_BITS, [0x5F375A86] * LANES), half)
        inverse, minus_half = self.builder.bitcast(guess, VECTOR), self.multiply(clipped, self.constant(-0.5))
        for _ in range(3):
            square = self.multiply(inverse, inverse)
            inverse = self.multiply(inverse, self.multiply_add(minus_half, square, self.constant(1.5)))
        return self.multiply(x, inverse)

    def reciprocal(self, x: Any) -> Any:
        """The reciprocal of positive numbers, to about one unit in the last place; see `square_root`."""
        guess = self.builder.sub(ir.Constant(_BITS, [0x7EF311C7] * LANES), self.builder.bitcast(x, _BITS))
        inverse, minus = self.builder.bitcast(guess, VECTOR), self.subtract(self.constant(-0.0), x)
        for _ in range(3):
            inverse = self.multiply_add(inverse, self.multiply_add(minus, inverse, self.constant(1.0)), inverse)
        return inverse

    def truth(self, bit: Any) -> Any:
        """A vector of one bit, for `select`."""
        kind = ir.VectorType(ir.IntType(1), LANES)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), bit, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, first, ir.Constant(_BITS, [0] * LANES))

    def folded(self, x: Any, lanes: int) -> Any:
        """A vector of this number of lanes with the same sum: each adds those of x at that distance."""
        length = LANES
        while length > lanes:
            length //= 2
            kind = ir.VectorType(ir.IntType(32), length)
            low, high = (
                self.builder.shuffle_vector(x, x, ir.Constant(kind, list(range(start, start + length))))
                for start in (0, length)
            )
            x = self.builder.fadd(low, high)
        return x

    def pair_sums(self, a: Any, b: Any) -> Any:
        """The sums of neighbours in a, then of those in b."""
        even, odd = (
            self.builder.shuffle_vector(a, b, ir.Constant(_BITS, list(range(start, 2 * LANES, 2)))) for start in (0, 1)
        )
        return self.builder.fadd(even, odd)

    def interleave(self, a: Any, b: Any) -> tuple[Any, Any]:
        """The numbers of two vectors, alternating, as two vectors."""
        half = LANES // 2
        order = [i // 2 + LANES * (i % 2) for i in range(LANES)]
        return tuple(  # type: ignore[return-value]  # two of them
            self.builder.shuffle_vector(a, b, ir.Constant(_BITS, [i + start for i in order])) for start in (0, half)
        )


class Rule(NamedTuple):
    """An optimiser's update rule.

    Attributes:
        slots: numbers that it keeps for each weight, at most 2.
        emit: (vectors, gradient, weight, slots, numbers of the step) -> the weight and the slots after it.
    """

    slots: int
    emit: Callable[[Vectors, Any, Any, list[Any], Sequence[Any]], tuple[Any, list[Any]]]


def adam(v: Vectors, gradient: Any, weight: Any, slots: list[Any], numbers: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Adam (Kingma & Ba, 2015, arXiv:1412.6980, section 2).

    Its numbers are the learning rate with bias correction, 1 - beta1, 1 - beta2 and epsilon.
    """
    rate, first, second, epsilon = numbers
    m = v.multiply_add(v.subtract(gradient, slots[0]), first, slots[0])
    s = v.multiply_add(v.subtract(v.multiply(gradient, gradient), slots[1]), second, slots[1])
    inverse = v.reciprocal(v.add(v.square_root(s), epsilon))
    return v.subtract(weight, v.multiply(v.multiply(m, rate), inverse)), [m, s]


def descent(v: Vectors, gradient: Any, weight: Any, slots: list[Any], numbers: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Gradient descent; its first number is the learning rate."""
    return v.subtract(weight, v.multiply(gradient, numbers[0])), []


def momentum(v: Vectors, gradient: Any, weight: Any, slots: list[Any], numbers: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Keras' gradient descent with momentum; its numbers are the learning rate and momentum."""
    m = v.subtract(v.multiply(slots[0], numbers[1]), v.multiply(gradient, numbers[0]))
    return v.add(weight, m), [m]


def nesterov(v: Vectors, gradient: Any, weight: Any, slots: list[Any], numbers: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Keras' Nesterov momentum; its numbers are those of `momentum`."""
    step = v.multiply(gradient, numbers[0])
    m = v.subtract(v.multiply(slots[0], numbers[1]), step)
    return v.add(weight, v.subtract(v.multiply(m, numbers[1]), step)), [m]


RULES = {
    "adam": Rule(2, adam),
    "descent": Rule(0, descent),
    "momentum": Rule(1, momentum),
    "nesterov": Rule(1, nesterov),
}


def array_of(context: Any, builder: Any, signature: Any, given: Sequence[Any], i: int) -> Any:
    """The address of an array argument's first number."""
    return context.make_array(signature.args[i])(context, builder, given[i]).data


def place_of(context: Any, builder: Any, signature: Any, given: Sequence[Any], i: int) -> Any:
    """The address in an array argument at the index that the next argument gives."""
    return builder.gep(array_of(context, builder, signature, given, i), [given[i + 1]])
