"""Vector instructions that numba does not reach by itself, written as LLVM code.

bfloat16 in and out, an exponential that vectorises, the dot products of one weight row with up to
eight activation rows, and a weighted sum of scattered rows. All work on memory addresses.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

MAX_TILE_ROWS = 8
PREFETCH_BYTES = 4096

_F32, _I16, _I32, _I64, _I8 = (
    ir.FloatType(),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.IntType(8),
)
_HAS_BF16_DOT = bool(llvm.get_host_cpu_features().get("avx512bf16"))


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not define."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


@intrinsic
def _widen(_context, bits):
    """float32 with the value of a bfloat16 given as uint16 bits."""

    def generate(_cg, builder, _signature, args):
        wide = builder.shl(builder.zext(args[0], _I32), ir.Constant(_I32, 16))
        return builder.bitcast(wide, _F32)

    return types.float32(types.uint16), generate


@intrinsic
def _narrow(_context, value):
    """uint16 bits of the bfloat16 nearest to a float32, ties to even."""

    def generate(_cg, builder, _signature, args):
        bits = builder.bitcast(args[0], _I32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
        bits = builder.add(bits, builder.add(odd, ir.Constant(_I32, 0x7FFF)))
        return builder.trunc(builder.lshr(bits, ir.Constant(_I32, 16)), _I16)

    return types.uint16(types.float32), generate


@intrinsic
def _power_of_two(_context, exponent):
    """2 to the power of a whole float32 between −126 and 127."""

    def generate(_cg, builder, _signature, args):
        whole = builder.fptosi(args[0], _I32)
        bits = builder.shl(builder.add(whole, ir.Constant(_I32, 127)), ir.Constant(_I32, 23))
        return builder.bitcast(bits, _F32)

    return types.float32(types.float32), generate


@njit(inline="always")
def exp(x):
    """e to the power of x, float32, to about one unit in the last place.

    The C library's is called one number at a time; this one LLVM turns into vector code. Range
    reduction to |r| ≤ ln 2 / 2 and a polynomial of degree 6 (Cephes' expf).
    """
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * r * r + r + np.float32(1)) * _power_of_two(n)


def load(array, index):
    """`array[index]` as float32, from float32 or from bfloat16 bits."""
    raise NotImplementedError


@overload(load, inline="always")
def _load(array, index):
    if array.dtype == types.uint16:
        return lambda array, index: _widen(array[index])
    return lambda array, index: array[index]


def store(array, index, value):
    """Write a float32 into a float32 array or, rounded, as bfloat16 bits."""
    raise NotImplementedError


@overload(store, inline="always")
def _store(array, index, value):
    if array.dtype == types.uint16:

        def narrow(array, index, value):
            array[index] = _narrow(np.float32(value))

        return narrow

    def keep(array, index, value):
        array[index] = np.float32(value)

    return keep


def declare(builder, name, result, arguments):
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def _read_floats(b, address, bf16: bool):
    """Sixteen float32 from memory, widened if they lie there as bfloat16."""
    if not bf16:
        floats = ir.VectorType(_F32, 16)
        return b.load(b.inttoptr(address, floats.as_pointer()), align=4)
    halves = b.load(b.inttoptr(address, ir.VectorType(_I16, 16).as_pointer()), align=2)
    wide = b.zext(halves, ir.VectorType(_I32, 16))
    shifted = b.shl(wide, ir.Constant(wide.type, [16] * 16))
    return b.bitcast(shifted, ir.VectorType(_F32, 16))


class _DotLoop:
    """Writes the LLVM loops that take the dot products of one weight row with some activation rows.

    LLVM vectors of 16 floats become whatever registers the machine has. With AVX512-BF16 a
    bfloat16 product takes 32 pairs an instruction; elsewhere bfloat16 is widened first.
    """

    def __init__(self, builder, bf16: bool) -> None:
        self.b = b = builder
        self.floats = floats = ir.VectorType(_F32, 16)
        self.bf16 = bf16
        self.native = bf16 and _HAS_BF16_DOT
        self.size = 2 if bf16 else 4
        self.lanes = 32 if self.native else 16
        if self.native:
            self.loaded = ir.VectorType(_BFloat(), 32)
            name = "llvm.x86.avx512bf16.dpbf16ps.512"
            self.multiply_add = declare(b, name, floats, [floats, self.loaded, self.loaded])
        else:
            self.multiply_add = declare(b, "llvm.fma.v16f32", floats, [floats] * 3)
        self.reduce = declare(b, "llvm.vector.reduce.fadd.v16f32", _F32, [_F32, floats])
        flags = [_I8.as_pointer(), _I32, _I32, _I32]
        self.prefetch = declare(b, "llvm.prefetch.p0", ir.VoidType(), flags)

    def read(self, address):
        """One vector from memory."""
        b = self.b
        if not self.native:
            return _read_floats(b, address, self.bf16)
        return b.load(b.inttoptr(address, self.loaded.as_pointer()), align=self.size)

    def add_product(self, total, w, v):
        """total + w · v."""
        arguments = [total, w, v] if self.native else [w, v, total]
        return self.b.call(self.multiply_add, arguments)

    def emit(self, rows: int, weight, x, out, width, out_stride) -> None:
        """The loop for `rows` activation rows, and the stores of its results."""
        b = self.b
        row_bytes = b.mul(width, integer(self.size))
        starts = [b.add(x, b.mul(integer(j), row_bytes)) for j in range(rows)]
        entry = b.block
        loop, done = b.append_basic_block("loop"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        offset = b.phi(_I64)
        offset.add_incoming(integer(0), entry)
        totals = [b.phi(self.floats) for _ in range(rows)]
        address = b.add(weight, offset)
        ahead = b.inttoptr(b.add(address, integer(PREFETCH_BYTES)), _I8.as_pointer())
        b.call(self.prefetch, [ahead, *(ir.Constant(_I32, flag) for flag in (0, 3, 1))])
        w = self.read(address)
        sums = [
            self.add_product(total, w, self.read(b.add(start, offset)))
            for start, total in zip(starts, totals, strict=True)
        ]
        following = b.add(offset, integer(self.lanes * self.size))
        offset.add_incoming(following, loop)
        for total, new in zip(totals, sums, strict=True):
            total.add_incoming(ir.Constant(self.floats, [0.0] * 16), entry)
            total.add_incoming(new, loop)
        b.cbranch(b.icmp_signed("<", following, row_bytes), loop, done)
        b.position_at_end(done)
        for j, new in enumerate(sums):
            result = b.call(self.reduce, [ir.Constant(_F32, 0.0), new], fastmath=("reassoc",))
            place = b.add(out, b.mul(integer(4 * j), out_stride))
            b.store(result, b.inttoptr(place, _F32.as_pointer()))


def integer(value: int):
    return ir.Constant(_I64, value)


def _make_dots(bf16: bool):
    @intrinsic
    def dots(_context, rows, weight, x, out, width, out_stride):
        signature = types.void(
            types.intp, types.uintp, types.uintp, types.uintp, types.intp, types.intp
        )

        def generate(cg, b, _signature, args):
            rows, *operands = args
            loops = _DotLoop(b, bf16)
            end = b.append_basic_block("end")
            switch = b.switch(rows, end)
            for count in range(1, MAX_TILE_ROWS + 1):
                block = b.append_basic_block(f"rows{count}")
                switch.add_case(integer(count), block)
                b.position_at_end(block)
                loops.emit(count, *operands)
                b.branch(end)
            b.position_at_end(end)
            return cg.get_dummy_value()

        return signature, generate

    return dots


# dots(rows, weight, x, out, width, out_stride), all but the counts addresses: dot products of
# weight [width] with x [rows, width], rows ≤ MAX_TILE_ROWS, width a multiple of 32; result j goes
# to out + j · out_stride floats.
dots_bf16 = _make_dots(bf16=True)
dots_f32 = _make_dots(bf16=False)


def _make_weighted_sum(bf16: bool, vectors: int):
    """An intrinsic: out[:16·vectors] = Σⱼ weights[j] · values[slots[j]], kept in registers."""

    @intrinsic
    def weighted_sum(_context, weights, slots, count, values, slot_bytes, out):
        signature = types.void(*[types.uintp] * 2, types.intp, types.uintp, types.intp, types.uintp)

        def generate(cg, b, _signature, args):
            weights, slots, count, values, slot_bytes, out = args
            floats, size = ir.VectorType(_F32, 16), 2 if bf16 else 4
            fma = declare(b, "llvm.fma.v16f32", floats, [floats] * 3)
            entry = b.block
            loop, done = b.append_basic_block("loop"), b.append_basic_block("done")
            b.branch(loop)
            b.position_at_end(loop)
            j = b.phi(_I64)
            j.add_incoming(integer(0), entry)
            totals = [b.phi(floats) for _ in range(vectors)]
            slot = b.load(b.inttoptr(b.add(slots, b.mul(j, integer(8))), _I64.as_pointer()))
            place = b.add(weights, b.mul(j, integer(4)))
            weight = b.load(b.inttoptr(place, _F32.as_pointer()))
            lane = b.insert_element(ir.Constant(floats, ir.Undefined), weight, integer(0))
            zeros = ir.Constant(ir.VectorType(_I32, 16), [0] * 16)
            splat = b.shuffle_vector(lane, ir.Constant(floats, ir.Undefined), zeros)
            row = b.add(values, b.mul(slot, slot_bytes))
            following = b.add(j, integer(1))
            for i, total in enumerate(totals):
                vector = _read_floats(b, b.add(row, integer(16 * size * i)), bf16)
                new = b.call(fma, [splat, vector, total])
                total.add_incoming(ir.Constant(floats, [0.0] * 16), entry)
                total.add_incoming(new, loop)
                totals[i] = new
            j.add_incoming(following, loop)
            b.cbranch(b.icmp_signed("<", following, count), loop, done)
            b.position_at_end(done)
            for i, total in enumerate(totals):
                place = b.inttoptr(b.add(out, integer(64 * i)), floats.as_pointer())
                b.store(total, place, align=4)
            return cg.get_dummy_value()

        return signature, generate

    return weighted_sum


# weighted_sum(weights, slots, count, values, slot_bytes, out), all but the counts addresses.
weighted_sum_bf16_64 = _make_weighted_sum(bf16=True, vectors=4)
weighted_sum_bf16_16 = _make_weighted_sum(bf16=True, vectors=1)
weighted_sum_f32_64 = _make_weighted_sum(bf16=False, vectors=4)
weighted_sum_f32_16 = _make_weighted_sum(bf16=False, vectors=1)
