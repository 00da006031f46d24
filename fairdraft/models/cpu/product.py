"""Products of activations with weights that lie as in the checkpoint.

Each number of a result is one dot product along K: lane l of a vector register adds up every L-th
product, and the lanes are folded at the end, halves onto halves. How many weight rows and
activation rows share a register block changes which sums run side by side, never a sum: a row has
the same bits beside none and beside a thousand.

A few activation rows are bound by memory: weights stream once, in blocks that stay in the
second-level cache. Many rows are bound by arithmetic: a block of weight and activation rows keeps
its sums in registers, so that a number loaded is used several times.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import functools

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from fairdraft.compiled import array_at
from fairdraft.models.cpu import threads
from fairdraft.models.cpu.processor import PATH, VectorPath
from fairdraft.models.cpu.program import Call
from fairdraft.models.cpu.vectors import (
    FLOATS,
    I64,
    LANES,
    Format,
    add_pair_products,
    add_products,
    integer,
    load,
    load_floats,
    load_pairs,
    prefetch,
    store_lanes,
    sum_lanes,
)

STEP = 32  # numbers of K taken at once: a cache line of 16-bit weights
GROUP = (
    24  # weight rows that all activation rows pass before the next; every block height divides it
)
X_ROWS = 256  # activation rows of a piece at most; they stay in the second-level cache
PIECE_BYTES = 32 * 1024  # weights of a piece at least
_PIECES = 16  # a thread's share is cut in so many, where there is enough


def block_height(path: VectorPath, rows: int) -> int:
    """Return how many weight rows share a register block with `rows` activation rows.

    A quarter of the registers is left for the numbers that are being multiplied.
    """
    return max(h for h in (1, 2, 3, 4) if h == 1 or h * rows <= path.registers * 3 // 4)


MAX_ROWS = 8 if PATH.registers >= 32 else 6  # activation rows that one pass takes, if no more come
MAIN_ROWS = 6 if PATH.registers >= 32 else 4  # of a pass among several: most products per load
_HEIGHTS = np.array([0] + [block_height(PATH, rows) for rows in range(1, MAX_ROWS + 1)])
DTYPES = {Format.FLOAT32: np.float32, Format.BFLOAT16: np.uint16, Format.FLOAT16: np.int16}


def takes_pairs(kind: Format) -> bool:
    """Whether products with such weights take activations as bfloat16, a pair an instruction."""
    return kind is Format.BFLOAT16 and PATH.bf16_dot


def _emit_block(b, kind: Format, height: int, rows: int, operands) -> None:
    """out[j, i] = weight[i] · x[j] for a block of weight rows i and activation rows j.

    Meanwhile memory from `coming` on is asked for: a line for each that is read, `line` bytes on.
    """
    weight, weight_stride, x, x_stride, steps, out, out_stride, coming, line = operands
    pairs = takes_pairs(kind)
    multiply_add = add_pair_products if pairs else add_products
    x_size, lanes = (2, 2 * LANES) if pairs else (4, LANES)
    weights = [b.add(weight, b.mul(integer(i), weight_stride)) for i in range(height)]
    inputs = [b.add(x, b.mul(integer(j), x_stride)) for j in range(rows)]
    entry, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    step = b.phi(I64)
    step.add_incoming(integer(0), entry)
    starts = [b.phi(FLOATS) for _ in range(height * rows)]
    sums = list(starts)
    lines = height * STEP * kind.size // 64
    next_line = b.add(coming, b.mul(b.mul(step, integer(lines)), line))
    for i in range(lines):
        prefetch(b, b.add(next_line, b.mul(integer(i), line)))
    w_offset = b.mul(step, integer(STEP * kind.size))
    x_offset = b.mul(step, integer(STEP * x_size))

    def weights_at(i: int, v: int):
        place = b.add(b.add(weights[i], w_offset), integer(v * lanes * kind.size))
        return load_pairs(b, place) if pairs else load_floats(b, place, kind)

    def inputs_at(j: int, v: int):
        place = b.add(b.add(inputs[j], x_offset), integer(v * lanes * x_size))
        return load_pairs(b, place) if pairs else load_floats(b, place, Format.FLOAT32)

    for v in range(STEP // lanes):  # the shorter side waits in registers for the longer one
        wide = height < rows
        held = [weights_at(i, v) if wide else inputs_at(i, v) for i in range(min(height, rows))]
        for one in range(max(height, rows)):
            other = inputs_at(one, v) if wide else weights_at(one, v)
            for two, value in enumerate(held):
                at = one * height + two if wide else two * height + one
                sums[at] = multiply_add(b, sums[at], value, other)
    following = b.add(step, integer(1))
    step.add_incoming(following, loop)
    for start, total in zip(starts, sums, strict=True):
        start.add_incoming(ir.Constant(FLOATS, [0.0] * LANES), entry)
        start.add_incoming(total, loop)
    b.cbranch(b.icmp_signed("<", following, steps), loop, done)
    b.position_at_end(done)
    for j in range(rows):
        place = b.add(out, b.mul(integer(j), out_stride))
        own = sums[j * height : (j + 1) * height]
        store_lanes(b, sum_lanes(b, own), len(own), place)


def make_block(kind: Format):
    """Make the intrinsic that computes one register block with weights of this format."""

    @intrinsic
    def block(
        _context,
        tall,
        rows,
        weight,
        weight_stride,
        x,
        x_stride,
        steps,
        out,
        out_stride,
        coming,
        line,
    ):
        signature = types.void(types.boolean, *[types.int64] * 10)

        def generate(cg, b, _signature, args):
            tall, rows, *operands = args
            end = b.append_basic_block("end")
            full, single = b.append_basic_block("full"), b.append_basic_block("single")
            b.cbranch(tall, full, single)
            for start, most in ((full, int(_HEIGHTS.max())), (single, 1)):
                b.position_at_end(start)
                switch = b.switch(rows, end)
                for count in range(1, MAX_ROWS + 1):
                    case = b.append_basic_block(f"rows{count}")
                    switch.add_case(integer(count), case)
                    b.position_at_end(case)
                    _emit_block(b, kind, min(most, int(_HEIGHTS[count])), count, operands)
                    b.branch(end)
            b.position_at_end(end)
            return cg.get_dummy_value()

        return signature, generate

    return block


@njit
def _finish(weight, x, out, columns, rows):
    """Add the products of the last numbers of K, fewer than a step, one after the other."""
    k = weight.shape[1]
    start = k // STEP * STEP
    for j in range(rows[0], rows[1]):
        for i in range(columns[0], columns[1]):
            total = out[j, i] if start else np.float32(0)
            for c in range(start, k):
                total += load(weight[i], c) * load(x[j], c)
            out[j, i] = total


@functools.cache
def _kernel(kind: Format) -> threads.Kernel:
    """Return the kernel for weights of this format: a piece is some weight rows and some of x."""
    block = make_block(kind)
    dtype, x_dtype = DTYPES[kind], np.uint16 if takes_pairs(kind) else np.float32
    size, x_size = kind.size, np.dtype(x_dtype).itemsize

    def piece(arguments, number):
        m, weight, x, out = arguments[0], arguments[1], arguments[2], arguments[3]
        n, k, height = arguments[4], arguments[5], arguments[6]
        shares = (n + height - 1) // height
        first, begin = number % shares * height, number // shares * X_ROWS
        last, end = min(n, first + height), min(m, begin + X_ROWS)
        steps, w_row, x_row = k // STEP, k * size, k * x_size
        passes = 1 if end - begin <= MAX_ROWS else (end - begin + MAIN_ROWS - 1) // MAIN_ROWS
        each = end - begin if passes == 1 else MAIN_ROWS
        group = GROUP if passes > 1 else _HEIGHTS[each]
        for start in range(first, last, group):
            stop = min(start + group, last)
            for number in range(passes):
                j = begin + number * each
                rows = min(each, end - j)
                i = start
                while i < stop and steps:
                    tall = _HEIGHTS[rows] if i + _HEIGHTS[rows] <= stop else 1
                    w = weight + i * w_row
                    # What the next group needs comes in the order in which it lies, and every pass
                    # asks for its share, so that memory is never waited for and never idle.
                    coming = w + group * w_row + number * tall * w_row // passes
                    to = out + (j * n + i) * 4
                    block(
                        tall > 1 or _HEIGHTS[rows] == 1,
                        rows,
                        w,
                        w_row,
                        x + j * x_row,
                        x_row,
                        steps,
                        to,
                        n * 4,
                        coming,
                        64 // passes,
                    )
                    i += tall
        if k % STEP:
            _finish(
                array_at(weight, (n, k), dtype),
                array_at(x, (m, k), x_dtype),
                array_at(out, (m, n), np.float32),
                (first, last),
                (begin, end),
            )

    return threads.Kernel(piece, error_model="numpy")


def piece_rows(rows: int, row_bytes: int, unit: int) -> int:
    """Return how many weight rows a piece of a product takes, a multiple of `unit`."""
    share = max(rows // (threads.count() * _PIECES), PIECE_BYTES // row_bytes)
    return unit * max(1, round(share / unit))


def product_call(kind: Format, weight: int, x: int, out: int, n: int, k: int) -> Call:
    """out = x · weightᵀ, from the addresses of arrays that lie without gaps.

    Args:
        kind: the format of the weights.
        weight: of [N, K].
        x: of [rows, K], float32; for bfloat16 weights where `takes_pairs` says so, bfloat16.
        out: of [rows, N] float32.
        n, k: N and K.
    """
    height = piece_rows(n, k * kind.size, GROUP)
    return Call(_kernel(kind), (weight, x, out, n, k, height), -(-n // height), X_ROWS)
