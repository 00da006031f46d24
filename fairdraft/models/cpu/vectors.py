"""Vector code that numba does not reach by itself, written for LLVM.

16-bit floats in and out, an exponential that vectorises, and the pieces of which the kernels build
their register blocks: loads that widen, multiply-adds, and sums over the lanes of many registers at
once. Everything works on memory addresses.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

from enum import StrEnum

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from fairdraft.compiled import EXP, LN2_HIGH, LN2_LOW, LOG2_E, exp_within
from fairdraft.models.cpu.processor import PATH

F32, F16, I8, I16, I32, I64 = (
    ir.FloatType(),
    ir.HalfType(),
    ir.IntType(8),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
)
LANES = PATH.lanes
FLOATS = ir.VectorType(F32, LANES)


class Format(StrEnum):
    """How numbers lie in memory. bfloat16 arrays are numpy's uint16, float16 arrays its int16."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return 4 if self is Format.FLOAT32 else 2


FORMATS = {
    torch.float32: Format.FLOAT32,
    torch.bfloat16: Format.BFLOAT16,
    torch.float16: Format.FLOAT16,
}


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not define."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


@intrinsic
def _widen_bfloat(_context, bits):
    """float32 with the value of a bfloat16 given as uint16 bits."""

    def generate(_cg, builder, _signature, args):
        wide = builder.shl(builder.zext(args[0], I32), ir.Constant(I32, 16))
        return builder.bitcast(wide, F32)

    return types.float32(types.uint16), generate


@intrinsic
def _narrow_to_bfloat(_context, value):
    """uint16 bits of the bfloat16 nearest to a float32, ties to even."""

    def generate(_cg, builder, _signature, args):
        bits = builder.bitcast(args[0], I32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(I32, 16)), ir.Constant(I32, 1))
        bits = builder.add(bits, builder.add(odd, ir.Constant(I32, 0x7FFF)))
        return builder.trunc(builder.lshr(bits, ir.Constant(I32, 16)), I16)

    return types.uint16(types.float32), generate


@intrinsic
def _widen_half(_context, bits):
    """float32 with the value of a float16 given as int16 bits."""

    def generate(_cg, builder, _signature, args):
        return builder.fpext(builder.bitcast(args[0], F16), F32)

    return types.float32(types.int16), generate


@intrinsic
def _narrow_to_half(_context, value):
    """int16 bits of the float16 nearest to a float32, ties to even."""

    def generate(_cg, builder, _signature, args):
        return builder.bitcast(builder.fptrunc(args[0], F16), I16)

    return types.int16(types.float32), generate


@njit(inline="always")
def exp(x):
    """e to the power of x, float32; the ends of `exp_within` stand for what lies outside."""
    return exp_within(min(max(x, np.float32(-87.0)), np.float32(88.0)))


def load(array, index):
    """`array[index]` as float32, from float32 or from the bits of a 16-bit float."""
    raise NotImplementedError


@overload(load, inline="always")
def _load(array, index):
    if array.dtype == types.uint16:
        return lambda array, index: _widen_bfloat(array[index])
    if array.dtype == types.int16:
        return lambda array, index: _widen_half(array[index])
    return lambda array, index: array[index]


def store(array, index, value):
    """Write a float32 into a float32 array or, rounded, as the bits of a 16-bit float."""
    raise NotImplementedError


@overload(store, inline="always")
def _store(array, index, value):
    if array.dtype == types.uint16:

        def to_bfloat(array, index, value):
            array[index] = _narrow_to_bfloat(np.float32(value))

        return to_bfloat
    if array.dtype == types.int16:

        def to_half(array, index, value):
            array[index] = _narrow_to_half(np.float32(value))

        return to_half

    def keep(array, index, value):
        array[index] = np.float32(value)

    return keep


def declare(builder, name, result, arguments):
    """The function of this name in the builder's module, declared if it was not."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def integer(value: int):
    """A constant int64."""
    return ir.Constant(I64, value)


def pointer(b, address, kind=I8):
    """An address as a pointer to a kind."""
    return b.inttoptr(address, kind.as_pointer())


def prefetch(b, address) -> None:
    """Ask for the cache line of an address, to be read soon; no address is wrong."""
    call = declare(b, "llvm.prefetch.p0", ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    b.call(call, [pointer(b, address), *(ir.Constant(I32, flag) for flag in (0, 3, 1))])


@intrinsic
def ask_for(_context, address):
    """Ask for the cache line of an address, to be read soon; no address is wrong."""

    def generate(cg, b, _signature, args):
        prefetch(b, args[0])
        return cg.get_dummy_value()

    return types.void(types.int64), generate


def load_floats(b, address, kind: Format):
    """A register of float32 from memory, widened if they lie there as 16-bit floats."""
    if kind is Format.FLOAT32:
        return b.load(pointer(b, address, FLOATS), align=4)
    if kind is Format.FLOAT16:
        return b.fpext(b.load(pointer(b, address, ir.VectorType(F16, LANES)), align=2), FLOATS)
    halves = b.load(pointer(b, address, ir.VectorType(I16, LANES)), align=2)
    wide = b.zext(halves, ir.VectorType(I32, LANES))
    return b.bitcast(b.shl(wide, ir.Constant(wide.type, [16] * LANES)), FLOATS)


def load_pairs(b, address):
    """A register of pairs of bfloat16 from memory, for `add_pair_products`."""
    return b.load(pointer(b, address, ir.VectorType(BFloat(), 2 * LANES)), align=2)


def add_products(b, total, x, y):
    """total + x · y, lane by lane, rounded once."""
    fma = declare(b, f"llvm.fma.v{LANES}f32", FLOATS, [FLOATS] * 3)
    return b.call(fma, [x, y, total])


def add_pair_products(b, total, x, y):
    """total + the products of the pairs in each lane (AVX512-BF16)."""
    pairs = ir.VectorType(BFloat(), 2 * LANES)
    name = "llvm.x86.avx512bf16.dpbf16ps.512"
    return b.call(declare(b, name, FLOATS, [FLOATS, pairs, pairs]), [total, x, y])


def _shuffle(b, x, y, lanes):
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def sum_lanes(b, registers):
    """Sum the lanes of each register: lane i of the result is the sum of register i.

    At most `LANES` registers. Halves are added to halves, quarters to quarters and so on, for as
    many registers at a time as there are: a register's sum is the same in any company.
    """
    rows = list(registers)
    width = LANES  # lanes that belong to one register
    while width > 1:
        half = width // 2
        folded = []
        for low, high in zip(rows[::2], [*rows[1::2], rows[-1]], strict=False):
            places = [(v, s) for v in range(2) for s in range(0, LANES, width)]
            first = [v * LANES + s + i for v, s in places for i in range(half)]
            folded.append(
                b.fadd(
                    _shuffle(b, low, high, first),
                    _shuffle(b, low, high, [lane + half for lane in first]),
                )
            )
        rows, width = folded, half
    return rows[0]


def store_lanes(b, register, count: int, address) -> None:
    """Write the first `count` lanes of a register to memory."""
    part = _shuffle(b, register, register, list(range(count)))
    b.store(part, pointer(b, address, part.type), align=4)


def spread(b, number):
    """A register whose every lane is this number, float32 or int32."""
    vector = ir.VectorType(number.type, LANES)
    lane = b.insert_element(ir.Constant(vector, ir.Undefined), number, integer(0))
    return _shuffle(b, lane, ir.Constant(vector, ir.Undefined), [0] * LANES)


def emit_exp(b, x):
    """e to the power of each lane, as `exp` works it out; below −87 about 1e-38."""
    ints = ir.VectorType(I32, LANES)

    def constant(value: float):
        return ir.Constant(FLOATS, [float(np.float32(value))] * LANES)

    def call(name: str, *arguments):
        function = declare(b, f"llvm.{name}.v{LANES}f32", FLOATS, [FLOATS] * len(arguments))
        return b.call(function, arguments)

    x = call("minnum", call("maxnum", x, constant(-87.0)), constant(88.0))
    n = call("floor", add_products(b, constant(0.5), x, constant(LOG2_E)))
    r = add_products(b, x, n, constant(-LN2_HIGH))
    r = add_products(b, r, n, constant(-LN2_LOW))
    p = constant(EXP[0])
    for coefficient in EXP[1:]:
        p = add_products(b, constant(coefficient), p, r)
    p = b.fadd(add_products(b, r, b.fmul(p, r), r), constant(1.0))
    bits = b.add(b.fptosi(n, ints), ir.Constant(ints, [127] * LANES))
    return b.fmul(p, b.bitcast(b.shl(bits, ir.Constant(ints, [23] * LANES)), FLOATS))
