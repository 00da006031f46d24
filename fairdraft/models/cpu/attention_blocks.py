"""Register blocks of attention, written for LLVM: scores, online softmax, weighted sums of values.

Queries lie in the lanes of a register, one key or value number is spread over all lanes or added to
one query's sum: what happens to one query never depends on the queries beside it.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,misc,no-any-unimported"

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fairdraft.models.cpu.processor import PATH
from fairdraft.models.cpu.vectors import (
    F32,
    FLOATS,
    I32,
    I64,
    LANES,
    add_products,
    declare,
    emit_exp,
    integer,
    pointer,
    spread,
)

TILE = 64  # tokens whose scores are worked out before their values are mixed
QUERY_VECTORS = 3  # registers of queries in a block of scores
VALUE_VECTORS = 4  # registers of value numbers in a block of sums
MIX_QUERIES = 6 if PATH.registers >= 32 else 3
_TOKENS = {1: 8, 2: 4, 3: 4} if PATH.registers < 32 else {1: 8, 2: 8, 3: 8}
_INTS = ir.VectorType(I32, LANES)


def _loop(b, count, initial):
    """Open a loop of `count` rounds; returns its counter, its sums, and what closes it."""
    entry, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    i = b.phi(I64)
    i.add_incoming(integer(0), entry)
    sums = []
    for start in initial:
        total = b.phi(start.type)
        total.add_incoming(start, entry)
        sums.append(total)

    def close(results) -> None:
        following = b.add(i, integer(1))
        i.add_incoming(following, b.block)
        for total, result in zip(sums, results, strict=True):
            total.add_incoming(result, b.block)
        b.cbranch(b.icmp_signed("<", following, count), loop, done)
        b.position_at_end(done)

    return i, sums, close


def _float_at(b, address):
    return spread(b, b.load(pointer(b, address, F32)))


def _vector_at(b, address):
    return b.load(pointer(b, address, FLOATS), align=4)


def _emit_scores(b, vectors: int, operands) -> None:
    queries, width, keys, key_bytes, dim, scores = operands
    row_bytes = b.mul(width, integer(4))
    tokens = _TOKENS[vectors]
    groups, _, close_groups = _loop(b, integer(TILE // tokens), [])
    first = b.mul(groups, integer(tokens))
    rows = [b.add(keys, b.mul(b.add(first, integer(t)), key_bytes)) for t in range(tokens)]
    zero = ir.Constant(FLOATS, [0.0] * LANES)
    d, sums, close = _loop(b, dim, [zero] * (tokens * vectors))
    place = b.add(queries, b.mul(d, row_bytes))
    qs = [_vector_at(b, b.add(place, integer(4 * LANES * v))) for v in range(vectors)]
    results = []
    for t, row in enumerate(rows):
        key = _float_at(b, b.add(row, b.mul(d, integer(4))))
        for v, q in enumerate(qs):
            results.append(add_products(b, sums[t * vectors + v], key, q))
    close(results)
    for t in range(tokens):
        place = b.add(scores, b.mul(b.add(first, integer(t)), row_bytes))
        for v in range(vectors):
            to = pointer(b, b.add(place, integer(4 * LANES * v)), FLOATS)
            b.store(results[t * vectors + v], to, align=4)
    close_groups([])


@intrinsic
def score_block(_context, vectors, queries, width, keys, key_bytes, dim, scores):
    """scores[j, q] = keys[j] · queries[:, q] for the tokens j of a tile and some registers of q.

    queries: [dim, width] float32, keys: [TILE, …] float32 rows `key_bytes` apart, scores:
    [TILE, width]; all but the counts addresses.
    """
    signature = types.void(*[types.int64] * 7)

    def generate(cg, b, _signature, args):
        vectors, *operands = args
        end = b.append_basic_block("end")
        switch = b.switch(vectors, end)
        for count in range(1, QUERY_VECTORS + 1):
            case = b.append_basic_block(f"vectors{count}")
            switch.add_case(integer(count), case)
            b.position_at_end(case)
            _emit_scores(b, count, operands)
            b.branch(end)
        b.position_at_end(end)
        return cg.get_dummy_value()

    return signature, generate


@intrinsic
def softmax_block(_context, scores, row_bytes, state, low, high, base, scale, softcap):
    """One tile's step of online softmax for a register of queries.

    scores: [TILE] rows `row_bytes` apart, which become weights. state: three registers of each
    query, `row_bytes` apart: greatest score, sum of weights, and the factor by which earlier sums
    shrink, which is written. low, high: int32, the first and last token each query sees; base: the
    tile's first token. softcap: 0 is off.
    """
    signature = types.void(*[types.int64] * 6, types.float32, types.float32)

    def generate(cg, b, _signature, args):
        scores, row_bytes, state, low, high, base, scale, softcap = args
        top_at, sum_at = state, b.add(state, row_bytes)
        factor_at = b.add(sum_at, row_bytes)
        first = b.load(pointer(b, low, _INTS), align=4)
        last = b.load(pointer(b, high, _INTS), align=4)
        one, zero = spread(b, ir.Constant(F32, 1.0)), spread(b, ir.Constant(F32, 0.0))
        nothing = spread(b, ir.Constant(F32, float("-inf")))
        scales, caps = spread(b, scale), spread(b, softcap)
        capped = b.fcmp_ordered("!=", softcap, ir.Constant(F32, 0.0))
        maximum = declare(b, f"llvm.maxnum.v{LANES}f32", FLOATS, [FLOATS, FLOATS])
        before = _vector_at(b, top_at)
        j, (top,), close = _loop(b, integer(TILE), [before])
        place = b.add(scores, b.mul(j, row_bytes))
        score = b.fmul(_vector_at(b, place), scales)
        plain, cap, after = (b.append_basic_block(n) for n in ("plain", "cap", "after"))
        b.cbranch(capped, cap, plain)
        b.position_at_end(cap)  # softcap · tanh(score / softcap), tanh x = 1 − 2 / (e^2x + 1)
        x = b.fdiv(score, caps)
        grown = b.fadd(emit_exp(b, b.fadd(x, x)), one)
        bounded = b.fmul(caps, b.fsub(one, b.fdiv(b.fadd(one, one), grown)))
        cap_end = b.block
        b.branch(after)
        b.position_at_end(plain)
        b.branch(after)
        b.position_at_end(after)
        value = b.phi(FLOATS)
        value.add_incoming(score, plain)
        value.add_incoming(bounded, cap_end)
        token = spread(b, b.trunc(b.add(base, j), I32))
        seen = b.and_(
            b.icmp_signed(">=", token, first),
            b.icmp_signed("<=", token, last),
        )
        value = b.select(seen, value, nothing)
        b.store(value, pointer(b, place, FLOATS), align=4)
        close([b.call(maximum, [top, value])])
        top = b.call(maximum, [top, value])
        empty = b.fcmp_ordered("==", top, nothing)
        factor = b.select(empty, one, emit_exp(b, b.fsub(before, top)))
        start = b.fmul(_vector_at(b, sum_at), factor)
        j, (total,), close = _loop(b, integer(TILE), [start])
        place = b.add(scores, b.mul(j, row_bytes))
        value = _vector_at(b, place)
        unseen = b.fcmp_ordered("==", value, nothing)
        weight = b.select(unseen, zero, emit_exp(b, b.fsub(value, top)))
        b.store(weight, pointer(b, place, FLOATS), align=4)
        new = b.fadd(total, weight)
        close([new])
        for register, address in ((top, top_at), (new, sum_at), (factor, factor_at)):
            b.store(register, pointer(b, address, FLOATS), align=4)
        return cg.get_dummy_value()

    return signature, generate


def _emit_mix(b, queries: int, vectors: int, operands) -> None:
    weights, row_bytes, values, value_bytes, factors, sums, sum_bytes = operands
    places = [b.add(sums, b.mul(integer(q), sum_bytes)) for q in range(queries)]
    starts = []
    for q, place in enumerate(places):
        factor = _float_at(b, b.add(factors, integer(4 * q)))
        for v in range(vectors):
            old = _vector_at(b, b.add(place, integer(4 * LANES * v)))
            starts.append(b.fmul(old, factor))
    j, totals, close = _loop(b, integer(TILE), starts)
    row = b.add(values, b.mul(j, value_bytes))
    place = b.add(weights, b.mul(j, row_bytes))

    def weight(q: int):
        return _float_at(b, b.add(place, integer(4 * q)))

    def value(v: int):
        return _vector_at(b, b.add(row, integer(4 * LANES * v)))

    results = list(totals)
    wide = queries < vectors  # the shorter side waits in registers for the longer one
    held = [weight(q) for q in range(queries)] if wide else [value(v) for v in range(vectors)]
    for one in range(vectors if wide else queries):
        other = value(one) if wide else weight(one)
        for two, number in enumerate(held):
            at = two * vectors + one if wide else one * vectors + two
            results[at] = add_products(b, results[at], number, other)
    close(results)
    for q, place in enumerate(places):
        for v in range(vectors):
            to = pointer(b, b.add(place, integer(4 * LANES * v)), FLOATS)
            b.store(results[q * vectors + v], to, align=4)


@intrinsic
def mix_block(
    _context, queries, vectors, weights, row_bytes, values, value_bytes, factors, sums, sum_bytes
):
    """sums[q] = sums[q] · factors[q] + Σⱼ weights[j, q] · values[j], for a block of q and numbers.

    queries: `MIX_QUERIES` or 1. vectors: registers of value numbers, `VALUE_VECTORS` or 1. weights:
    [TILE] rows `row_bytes` apart; values: [TILE] rows; sums: rows; all but the counts addresses.
    """
    signature = types.void(*[types.int64] * 9)

    def generate(cg, b, _signature, args):
        queries, vectors, *operands = args
        end = b.append_basic_block("end")
        code = b.add(b.mul(queries, integer(16)), vectors)
        switch = b.switch(code, end)
        for q in (1, MIX_QUERIES):
            for v in (1, VALUE_VECTORS):
                case = b.append_basic_block(f"mix{q}x{v}")
                switch.add_case(integer(q * 16 + v), case)
                b.position_at_end(case)
                _emit_mix(b, q, v, operands)
                b.branch(end)
        b.position_at_end(end)
        return cg.get_dummy_value()

    return signature, generate
