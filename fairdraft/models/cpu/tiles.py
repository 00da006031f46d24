"""bfloat16 products on Intel's AMX tiles: sixteen activation rows for the price of one.

A tile instruction takes C[16, 16] += A[16, 32] · B[32, 16]. The weights are A, read where and as
they lie in the checkpoint; the activations are B, re-laid once a product. However many rows run
together, each number of the result is the same sum in the same order.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fairdraft.models.cpu import threads
from fairdraft.models.cpu.processor import PATH
from fairdraft.models.cpu.product import make_block, piece_rows
from fairdraft.models.cpu.program import Call
from fairdraft.models.cpu.vectors import Format, declare, integer

TILE = 16  # rows and columns of a result tile
DEPTH = 32  # bfloat16 numbers a tile row
TILE_BYTES = 1024
MAX_TILES = 4  # result tiles side by side: with one tile of weights and one of activations, six

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_WEIGHTS, _INPUTS = MAX_TILES, MAX_TILES + 1  # the tile registers that hold them


HAVE_TILES = PATH.tiles

# The layout of eight full tiles, as LDTILECFG reads it: palette 1, 64 bytes a row, 16 rows.
_LAYOUT = np.zeros(64, np.uint8)
_LAYOUT[0] = 1
_LAYOUT[16:32:2] = 2 * DEPTH
_LAYOUT[48:56] = TILE


def _pointer(b, address):
    return b.inttoptr(address, _I8.as_pointer())


@intrinsic
def _configure(_context, layout):
    """Take the tiles in use; `layout` is an address."""

    def generate(cg, b, _signature, args):
        load = declare(b, "llvm.x86.ldtilecfg", ir.VoidType(), [_I8.as_pointer()])
        b.call(load, [_pointer(b, args[0])])
        return cg.get_dummy_value()

    return types.void(types.uintp), generate


@intrinsic
def _release(_context):
    """Give the tiles back."""

    def generate(cg, b, _signature, _args):
        b.call(declare(b, "llvm.x86.tilerelease", ir.VoidType(), []), [])
        return cg.get_dummy_value()

    return types.void(), generate


def _emit_products(b, count: int, weight, row_bytes, inputs, steps, ahead, out) -> None:
    """out[j] = weight · inputs[j] for `count` tiles j of activations. All but `count` in LLVM."""
    move = [_I8, _I8.as_pointer(), _I64]
    load = declare(b, "llvm.x86.tileloadd64", ir.VoidType(), move)
    store = declare(b, "llvm.x86.tilestored64", ir.VoidType(), move)
    zero = declare(b, "llvm.x86.tilezero", ir.VoidType(), [_I8])
    multiply_add = declare(b, "llvm.x86.tdpbf16ps", ir.VoidType(), [_I8] * 3)
    prefetch = declare(b, "llvm.prefetch.p0", ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    tile = [ir.Constant(_I8, i) for i in range(_INPUTS + 1)]
    line = integer(64)
    for j in range(count):
        b.call(zero, [tile[j]])
    entry = b.block
    loop, done = b.append_basic_block("loop"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    step = b.phi(_I64)
    step.add_incoming(integer(0), entry)
    for i in range(TILE):  # the coming weights, in the order in which they lie in memory
        offset = b.add(b.mul(step, integer(TILE * 64)), integer(i * 64))
        flags = [ir.Constant(_I32, flag) for flag in (0, 3, 1)]
        b.call(prefetch, [_pointer(b, b.add(ahead, offset)), *flags])
    b.call(load, [tile[_WEIGHTS], _pointer(b, b.add(weight, b.mul(step, line))), row_bytes])
    for j in range(count):
        at = b.add(b.mul(integer(j), steps), step)
        place = b.add(inputs, b.mul(at, integer(TILE_BYTES)))
        b.call(load, [tile[_INPUTS], _pointer(b, place), line])
        b.call(multiply_add, [tile[j], tile[_WEIGHTS], tile[_INPUTS]])
    following = b.add(step, integer(1))
    step.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, steps), loop, done)
    b.position_at_end(done)
    for j in range(count):
        b.call(store, [tile[j], _pointer(b, b.add(out, integer(j * TILE_BYTES))), line])


@intrinsic
def _products(_context, count, weight, row_bytes, inputs, steps, ahead, out):
    """Sixteen weight rows times `count` tiles of activations; all but the counts addresses.

    weight: 16 rows, row_bytes apart. inputs: [count, steps] activation tiles. ahead: the memory
    to ask for meanwhile. out: [count, 16 weight rows, 16 activation rows] float32.
    """
    signature = types.void(
        types.intp,
        types.uintp,
        types.intp,
        types.uintp,
        types.intp,
        types.uintp,
        types.uintp,
    )

    def generate(cg, b, _signature, args):
        count, *operands = args
        end = b.append_basic_block("end")
        switch = b.switch(count, end)
        for tiles in range(1, MAX_TILES + 1):
            block = b.append_basic_block(f"tiles{tiles}")
            switch.add_case(integer(tiles), block)
            b.position_at_end(block)
            _emit_products(b, tiles, *operands)
            b.branch(end)
        b.position_at_end(end)
        return cg.get_dummy_value()

    return signature, generate


@intrinsic
def _transpose(_context, source, source_stride, sources, target, target_stride, targets):
    """16 × 16 numbers of four bytes, turned in registers.

    Reads the first `sources` rows, the others as zeros; writes the first `targets` rows of the
    transpose. source and target are addresses, the strides are bytes.
    """
    signature = types.void(*[types.uintp, types.intp, types.intp] * 2)

    def generate(cg, b, _signature, args):
        source, source_stride, sources, target, target_stride, targets = args
        vector, mask = ir.VectorType(_I32, TILE), ir.VectorType(ir.IntType(1), TILE)
        zeros = ir.Constant(vector, [0] * TILE)
        kinds = [vector.as_pointer(), _I32, mask, vector]
        load = declare(b, "llvm.masked.load.v16i32.p0", vector, kinds)
        kinds = [vector, vector.as_pointer(), _I32, mask]
        store = declare(b, "llvm.masked.store.v16i32.p0", ir.VoidType(), kinds)

        def row(base, stride, count, i):
            """The address of row i, and whether there is one, for every lane."""
            address = b.add(base, b.mul(integer(i), stride))
            there = b.icmp_signed("<", integer(i), count)
            lane = b.insert_element(ir.Constant(mask, ir.Undefined), there, integer(0))
            spread = b.shuffle_vector(lane, ir.Constant(mask, ir.Undefined), zeros)
            return b.inttoptr(address, vector.as_pointer()), spread

        align = ir.Constant(_I32, 4)
        rows = []
        for i in range(TILE):
            pointer, there = row(source, source_stride, sources, i)
            rows.append(b.call(load, [pointer, align, there, zeros]))
        for s in (8, 4, 2, 1):  # swap the off-diagonal s × s blocks of each 2s × 2s block
            for i in (i for i in range(TILE) if not i & s):
                low, high = rows[i], rows[i + s]
                upper = [TILE + lane - s if lane & s else lane for lane in range(TILE)]
                lower = [TILE + lane if lane & s else lane + s for lane in range(TILE)]
                rows[i] = b.shuffle_vector(low, high, ir.Constant(vector, upper))
                rows[i + s] = b.shuffle_vector(low, high, ir.Constant(vector, lower))
        for i, turned in enumerate(rows):
            pointer, there = row(target, target_stride, targets, i)
            b.call(store, [turned, pointer, align, there])
        return cg.get_dummy_value()

    return signature, generate


def _relay(arguments, number):
    """Sixteen rows of activations as B tiles: tiles[s, p, r] = the pair x[r, 32s + 2p :][:2].

    Rows past the last become zeros.
    """
    m, x, inputs, k = arguments[0], arguments[1], arguments[2], arguments[3]
    first = number * TILE
    for s in range(k // DEPTH):
        source = np.uintp(x + 2 * (first * k + s * DEPTH))
        target = np.uintp(inputs + (number * (k // DEPTH) + s) * TILE_BYTES)
        _transpose(source, 2 * k, m - first, target, 64, TILE)


_single = make_block(Format.BFLOAT16)


def _piece(arguments, number):
    """Some weight rows, a multiple of 16 but for the last, times all activations."""
    m, weight, x, inputs = arguments[0], arguments[1], arguments[2], arguments[3]
    layout, out = arguments[4], arguments[5]
    n, k, height = arguments[6], arguments[7], arguments[8]
    first, last = number * height, min(n, (number + 1) * height)
    steps, row_bytes = k // DEPTH, k * 2
    columns = (m + TILE - 1) // TILE
    block_bytes = TILE * row_bytes
    results = np.empty((MAX_TILES, TILE, TILE), np.float32)
    buffer = np.uintp(results.ctypes.data)
    _configure(np.uintp(layout))
    whole = last - last % TILE
    for j in range(0, columns, MAX_TILES):
        count = min(MAX_TILES, columns - j)
        at = np.uintp(inputs + j * steps * TILE_BYTES)
        for i in range(first, whole, TILE):
            w = np.uintp(weight + i * row_bytes)
            _products(count, w, row_bytes, at, steps, np.uintp(w + block_bytes), buffer)
            for t in range(count):
                row = (j + t) * TILE
                source = np.uintp(buffer + t * TILE_BYTES)
                target = np.uintp(out + 4 * (row * n + i))
                _transpose(source, 64, TILE, target, 4 * n, m - row)
    _release()
    for i in range(whole, last):
        w = weight + i * row_bytes
        for r in range(m):
            v, to = x + r * row_bytes, out + (r * n + i) * 4
            _single(False, 1, w, row_bytes, v, row_bytes, k // DEPTH, to, 4 * n, w, 64)


_RELAY = threads.Kernel(_relay, error_model="numpy")
_MULTIPLY = threads.Kernel(_piece, error_model="numpy")


def input_bytes(k: int, rows: int) -> int:
    """Return the bytes of so many activation rows [K] as tiles."""
    return -(-rows // TILE) * k // DEPTH * TILE_BYTES


def product_calls(weight: int, x: int, out: int, n: int, k: int, inputs: int) -> list[Call]:
    """out = x · weightᵀ on tiles; only where `HAVE_TILES`.

    Args:
        weight: address of [N, K] bfloat16, K a multiple of 32.
        x: of [rows, K] bfloat16.
        out: of [rows, N] float32.
        n, k: N and K.
        inputs: of `input_bytes`, for x as tiles.
    """
    height = piece_rows(n, 2 * k, TILE)
    addresses = weight, x, inputs, _LAYOUT.ctypes.data, out
    return [
        Call(_RELAY, (x, inputs, k), rows=TILE),
        Call(_MULTIPLY, (*addresses, n, k, height), -(-n // height)),
    ]
