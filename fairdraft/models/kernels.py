"""The CPU's hot loops, compiled by numba: products of a few rows, norms, rotary embedding, attention.

A decoding step reads every weight once and does little with it, so its floor is weight bytes over
memory bandwidth. `matmul` runs at that floor for up to about eight rows: it streams the weights
row by row as they lie in the checkpoint, asks for the cache line 4 KiB ahead, and takes the dot
products with all activation rows while a weight is in a register.

Each number of a result is computed by the same instructions in the same order however many rows
run beside it: results do not depend on the batch.

bfloat16 arrays come in as their uint16 bits. Threads are numba's; torch is imported first, so that
on Linux both share one OpenMP pool and never wait for each other's spinning threads.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

import math

import llvmlite.binding as llvm
import numba
import numpy as np
import torch  # noqa: F401  (first, for its OpenMP runtime)
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic, overload

numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

MAX_TILE_ROWS = 8
PREFETCH_BYTES = 4096
FAST = {"reassoc", "contract", "nsz"}

_F32, _I16, _I32, _I64, _I8 = (
    ir.FloatType(),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.IntType(8),
)
_HAS_BF16_DOT = bool(llvm.get_host_cpu_features().get("avx512bf16"))


class _BFloat(ir.Type):  # type: ignore[misc]
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


def load(array, index):
    """`array[index]` as float32, from float32 or from bfloat16 bits."""
    raise NotImplementedError


@overload(load, inline="always")
def _load(array, index):  # noqa: ARG001
    if array.dtype == types.uint16:
        return lambda array, index: _widen(array[index])
    return lambda array, index: array[index]


def store(array, index, value):
    """Write a float32 into a float32 array or, rounded, as bfloat16 bits."""
    raise NotImplementedError


@overload(store, inline="always")
def _store(array, index, value):  # noqa: ARG001
    if array.dtype == types.uint16:

        def narrow(array, index, value):
            array[index] = _narrow(np.float32(value))

        return narrow

    def keep(array, index, value):
        array[index] = np.float32(value)

    return keep


def _function(builder, name, result, arguments):
    module = builder.module
    return module.globals.get(name) or ir.Function(
        module, ir.FunctionType(result, arguments), name
    )


class _DotLoop:
    """Writes the LLVM loops that take the dot products of one weight row with some activation rows.

    LLVM vectors of 16 floats become whatever registers the machine has. With AVX512-BF16 a
    bfloat16 product takes 32 pairs an instruction; elsewhere bfloat16 is widened first.
    """

    def __init__(self, builder, bf16: bool) -> None:
        self.b = b = builder
        self.floats = floats = ir.VectorType(_F32, 16)
        self.widen = bf16 and not _HAS_BF16_DOT
        self.native = bf16 and _HAS_BF16_DOT
        self.size = 2 if bf16 else 4
        self.lanes = 32 if self.native else 16
        loaded = {(True, True): (_BFloat(), 32), (True, False): (_I16, 16)}
        self.loaded = ir.VectorType(*loaded.get((bf16, self.native), (_F32, 16)))
        if self.native:
            name = "llvm.x86.avx512bf16.dpbf16ps.512"
            self.multiply_add = _function(b, name, floats, [floats, self.loaded, self.loaded])
        else:
            self.multiply_add = _function(b, "llvm.fma.v16f32", floats, [floats] * 3)
        self.reduce = _function(b, "llvm.vector.reduce.fadd.v16f32", _F32, [_F32, floats])
        flags = [_I8.as_pointer(), _I32, _I32, _I32]
        self.prefetch = _function(b, "llvm.prefetch.p0", ir.VoidType(), flags)

    def read(self, address):
        """One vector from memory."""
        b = self.b
        vector = b.load(b.inttoptr(address, self.loaded.as_pointer()), align=self.size)
        if not self.widen:
            return vector
        wide = b.zext(vector, ir.VectorType(_I32, 16))
        return b.bitcast(b.shl(wide, ir.Constant(wide.type, [16] * 16)), self.floats)

    def add_product(self, total, w, v):
        """total + w · v."""
        arguments = [total, w, v] if self.native else [w, v, total]
        return self.b.call(self.multiply_add, arguments)

    def emit(self, rows: int, weight, x, out, width, out_stride) -> None:
        """The loop for `rows` activation rows, and the stores of its results."""
        b = self.b
        row_bytes = b.mul(width, _int(self.size))
        starts = [b.add(x, b.mul(_int(j), row_bytes)) for j in range(rows)]
        entry = b.block
        loop, done = b.append_basic_block("loop"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        offset = b.phi(_I64)
        offset.add_incoming(_int(0), entry)
        totals = [b.phi(self.floats) for _ in range(rows)]
        address = b.add(weight, offset)
        ahead = b.inttoptr(b.add(address, _int(PREFETCH_BYTES)), _I8.as_pointer())
        b.call(self.prefetch, [ahead, *(ir.Constant(_I32, flag) for flag in (0, 3, 1))])
        w = self.read(address)
        sums = [
            self.add_product(total, w, self.read(b.add(start, offset)))
            for start, total in zip(starts, totals, strict=True)
        ]
        following = b.add(offset, _int(self.lanes * self.size))
        offset.add_incoming(following, loop)
        for total, new in zip(totals, sums, strict=True):
            total.add_incoming(ir.Constant(self.floats, [0.0] * 16), entry)
            total.add_incoming(new, loop)
        b.cbranch(b.icmp_signed("<", following, row_bytes), loop, done)
        b.position_at_end(done)
        for j, new in enumerate(sums):
            result = b.call(self.reduce, [ir.Constant(_F32, 0.0), new], fastmath=("reassoc",))
            place = b.add(out, b.mul(_int(4 * j), out_stride))
            b.store(result, b.inttoptr(place, _F32.as_pointer()))


def _int(value: int):
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
                switch.add_case(_int(count), block)
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
_dots_bf16 = _make_dots(bf16=True)
_dots_f32 = _make_dots(bf16=False)


def _matmul(weight, x, out, num_threads):
    """out = x · weightᵀ.

    Args:
        weight: [N, K], float32 or bfloat16 bits, K a multiple of 32.
        x: [M, K], same dtype.
        out: [M, N] float32.
        num_threads: how many threads share the N rows.
    """
    n, k = weight.shape
    m = x.shape[0]
    bf16 = weight.itemsize == 2
    share = (n + num_threads - 1) // num_threads
    row_bytes = k * weight.itemsize
    weights, inputs, results = weight.ctypes.data, x.ctypes.data, out.ctypes.data
    for thread in prange(num_threads):
        for i in range(thread * share, min((thread + 1) * share, n)):
            for j in range(0, m, MAX_TILE_ROWS):
                rows = min(MAX_TILE_ROWS, m - j)
                w = np.uintp(weights + i * row_bytes)
                v = np.uintp(inputs + j * row_bytes)
                r = np.uintp(results + (j * n + i) * 4)
                if bf16:
                    _dots_bf16(rows, w, v, r, k, n)
                else:
                    _dots_f32(rows, w, v, r, k, n)


matmul = njit(cache=True, parallel=True)(_matmul)
matmul_serial = njit(cache=True)(_matmul)


@njit(cache=True, fastmath=FAST)
def rms_norm(x, weight, eps, out):
    """out = x / rms(x) · weight, row by row. x [M, d] float32; out [M, d] float32 or bf16 bits."""
    for r in range(x.shape[0]):
        total = np.float32(0)
        for i in range(x.shape[1]):
            total += x[r, i] * x[r, i]
        scale = np.float32(1 / math.sqrt(total / x.shape[1] + eps))
        for i in range(x.shape[1]):
            store(out, (r, i), x[r, i] * scale * weight[i])


@njit(cache=True, fastmath=FAST)
def add_rms_norm(x, addend, weight, eps, out):
    """x += addend, then out = rms_norm(x): one residual connection. Shapes as in `rms_norm`."""
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[r, i] += addend[r, i]
    rms_norm(x, weight, eps, out)


@njit(cache=True, fastmath=FAST)
def silu_multiply(gate_up, out):
    """out = silu(gate) · up. gate_up [M, 2·f] float32; out [M, f] float32 or bf16 bits."""
    f = gate_up.shape[1] // 2
    for r in range(gate_up.shape[0]):
        for i in range(f):
            gate = gate_up[r, i]
            value = gate / (np.float32(1) + np.exp(-gate)) * gate_up[r, f + i]
            store(out, (r, i), value)


@njit(cache=True, fastmath=FAST)
def rotate_and_store(qkv, num_heads, cos, sin, q_norm, k_norm, eps, slots, keys, values):
    """Normalise and rotate queries and keys, and write keys and values to their slots.

    Args:
        qkv: [M, (num_heads + 2 · kv_heads) · D] float32; its queries are rotated in place.
        num_heads: query heads.
        cos, sin: [M, D] float32, the model's rotary embedding at each row's position.
        q_norm, k_norm: [D] float32 norm weights, or empty where the model has none.
        eps: of those norms.
        slots: [M] int64, where each row's key and value go.
        keys, values: [slots, kv_heads, D], float32 or bfloat16 bits.
    """
    kv_heads, dim = keys.shape[1], keys.shape[2]
    half = dim // 2
    turned = np.empty(dim, np.float32)
    for r in range(qkv.shape[0]):
        slot = slots[r]
        for h in range(num_heads + kv_heads):
            head = qkv[r, h * dim : (h + 1) * dim]
            norm = q_norm if h < num_heads else k_norm
            if norm.size:
                total = np.float32(0)
                for i in range(dim):
                    total += head[i] * head[i]
                scale = np.float32(1 / math.sqrt(total / dim + eps))
                for i in range(dim):
                    head[i] *= scale * norm[i]
            for i in range(half):
                turned[i] = head[i] * cos[r, i] - head[half + i] * sin[r, i]
                turned[half + i] = head[half + i] * cos[r, half + i] + head[i] * sin[r, half + i]
            if h < num_heads:
                head[:] = turned
            else:
                for i in range(dim):
                    store(keys, (slot, h - num_heads, i), turned[i])
        for h in range(kv_heads):
            first = (num_heads + kv_heads + h) * dim
            for i in range(dim):
                store(values, (slot, h, i), qkv[r, first + i])


def _attend(
    queries, keys, values, block_tables, block_size, cu_rows, context_lens, positions,
    ancestors, ancestor_starts, scale, window, softcap, out, num_threads,
):  # fmt: skip
    """Attention of each row over its request's paged KV.

    Row r of a request with c computed tokens sees the c tokens before the step, and among the
    step's own rows those its ancestor mask names, by default itself and all before it.

    Args:
        queries: [T, num_heads, key_dim] float32.
        keys, values: [slots, kv_heads, dim], float32 or bfloat16 bits.
        block_tables: [B, blocks] int32; block_size tokens a block.
        cu_rows: [B + 1] int32, first row of each request.
        context_lens: [B] int32, tokens in the cache before this step.
        positions: [T] int64; siblings of a tree share one.
        ancestors: flat uint8 masks, [rows, rows] per request that has one.
        ancestor_starts: [B] int64, where a request's mask begins; −1 for a chain.
        scale: factor on the scores.
        window: sliding window in tokens; 0 sees all.
        softcap: scores become softcap · tanh(score / softcap); 0 is off.
        out: [T, num_heads, value_dim], float32 or bfloat16 bits.
        num_threads: how many threads share the (row, kv head) pairs.
    """
    num_rows, num_heads, key_dim = queries.shape
    kv_heads, value_dim = values.shape[1], values.shape[2]
    group = num_heads // kv_heads
    longest = 0
    owner = np.empty(num_rows, np.int64)
    for b in range(context_lens.size):
        owner[cu_rows[b] : cu_rows[b + 1]] = b
        longest = max(longest, context_lens[b] + cu_rows[b + 1] - cu_rows[b])
    pairs = num_rows * kv_heads
    for thread in prange(num_threads):
        scores = np.empty((group, longest), np.float32)
        seen = np.empty(longest, np.int64)
        vector = np.empty(max(key_dim, value_dim), np.float32)
        totals = np.empty((group, value_dim), np.float32)
        for pair in range(thread, pairs, num_threads):
            row, kv_head = pair // kv_heads, pair % kv_heads
            b = owner[row]
            first_row, context = cu_rows[b], context_lens[b]
            rows = cu_rows[b + 1] - first_row
            own = row - first_row
            mask = ancestor_starts[b]
            start = 0
            if window and positions[row] - window + 1 > 0:
                start = min(positions[row] - window + 1, context)
            count = 0
            for j in range(start, context):
                seen[count] = block_tables[b, j // block_size] * block_size + j % block_size
                count += 1
            for i in range(rows if mask >= 0 else own + 1):
                if mask >= 0 and not ancestors[mask + own * rows + i]:
                    continue
                if window and positions[row] - positions[first_row + i] >= window:
                    continue
                j = context + i
                seen[count] = block_tables[b, j // block_size] * block_size + j % block_size
                count += 1
            for j in range(count):
                for i in range(key_dim):
                    vector[i] = load(keys, (seen[j], kv_head, i))
                for g in range(group):
                    score = np.float32(0)
                    for i in range(key_dim):
                        score += queries[row, kv_head * group + g, i] * vector[i]
                    score *= scale
                    if softcap:
                        score = softcap * math.tanh(score / softcap)
                    scores[g, j] = score
            for g in range(group):
                top = scores[g, 0]
                for j in range(1, count):
                    top = max(top, scores[g, j])
                total = np.float32(0)
                for j in range(count):
                    scores[g, j] = np.exp(scores[g, j] - top)
                    total += scores[g, j]
                for j in range(count):
                    scores[g, j] /= total
            totals[:] = 0
            for j in range(count):
                for i in range(value_dim):
                    vector[i] = load(values, (seen[j], kv_head, i))
                for g in range(group):
                    for i in range(value_dim):
                        totals[g, i] += scores[g, j] * vector[i]
            for g in range(group):
                for i in range(value_dim):
                    store(out, (row, kv_head * group + g, i), totals[g, i])


attend = njit(cache=True, parallel=True, fastmath=FAST)(_attend)
attend_serial = njit(cache=True, fastmath=FAST)(_attend)
