"""A step's rounds, compiled: from logits to verdicts, one request after another.

What decides is written down in `fairdraft.verification` and `fairdraft.sampling.filters`; this is
the same for float32 rows in memory, in one pass, and tests hold it to them. Of a request only the
rows on its way are worked on: those behind a token that does not stand cost nothing. A verdict
depends on its own request's rows, tokens and noise alone, so rounds may run in any order and on any
thread.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,misc"

from __future__ import annotations

from collections import namedtuple
from enum import IntEnum

import numpy as np
from numba import carray, njit

from fairdraft.compiled import array_at
from fairdraft.sampling.adjustments import adjust_row
from fairdraft.sampling.kernels import BLOCK, likeliest, normalise
from fairdraft.sampling.laws import drawn, shares_of
from fairdraft.sampling.noise import winner_of


class Way(IntEnum):
    """How a round is decided."""

    LIKELIEST = 0  # matched with the likeliest tokens
    DRAW = 1  # matched with keyed draws by inverse transform
    RACE = 2  # matched with Gumbel draws
    STANDARD = 3  # as `verification.standard` does
    BLOCK = 4  # as `verification.block` does


class Job(IntEnum):
    """What a job's array holds: sizes, and addresses of arrays. B rounds, R rows, N nodes."""

    VOCAB_SIZE = 0
    NUM_NODES = 1
    NUM_WORDS = 2
    NUM_NUMBERS = 3
    ROUNDS = 4  # [B, len(Field)] int64
    FILTERS = 5  # [B, len(Filter)] float64
    LOGITS = 6  # [R, V] float32
    DRAWS = 7  # [R] float64, the draw in [0, 1) of each row's token
    KEYS = 8  # [R] uint64, the key of each row's Gumbel draw
    NODES = 9  # [len(Node), N] int64
    CHANCES = 10  # [N] float64, the draw in [0, 1) that accepts each node
    WORDS = 11  # int64, the whole numbers of all adjustments
    NUMBERS = 12  # float64, the other numbers of all adjustments
    RESULTS = 13  # [B, 2] int64, written: how many nodes stand; the token after them, or −1
    NUM_ROUNDS = 14
    NUM_PIECES = 15
    MEMORY = 16  # [pieces, memory_size(V)] uint8, to work in


class Field(IntEnum):
    """A round's whole numbers."""

    WAY = 0
    ROW = 1  # its first row
    NODE = 2  # its first node
    NUM_NODES = 3
    ONLY_ROW = 4  # the one row whose own token is asked for, whatever it is; −1 follows the draft
    TOP_K = 5
    WORD = 6  # its adjustments' first whole number; −1 changes no logits
    NUMBER = 7  # their first other number


class Filter(IntEnum):
    """A round's other numbers."""

    SCALE = 0  # 1 / temperature
    MIN_P = 1
    TOP_P = 2


class Node(IntEnum):
    """What is known of a draft's node."""

    TOKEN = 0
    PARENT = 1
    LAW = 2  # address of [V] float32, what it was drawn from
    PATH = 3  # written: the accepted nodes of a round, beginning at its first node's place


_NUM_JOB, _NUM_FIELDS, _NUM_FILTERS, _NUM_COLUMNS = map(len, (Job, Field, Filter, Node))

# A round's part of a job, and memory for the law of one row.
_Round = namedtuple(
    "_Round",
    "fields filters logits draws keys tokens parents laws path chances words numbers "
    "shares ids adjusted sums",
)


@njit(inline="always")
def _even(size):
    return size + size % 2  # so that what lies behind is aligned for float64


@njit(cache=True)
def memory_size(vocab_size):
    """How many bytes a piece of a job works in."""
    return 12 * _even(vocab_size) + 8 * ((vocab_size + BLOCK - 1) // BLOCK)


@njit(cache=True)
def _round(job, number, memory):
    """A round's part of a job; what it works in begins at the address `memory`."""
    vocab_size, num_nodes = job[Job.VOCAB_SIZE], job[Job.NUM_NODES]
    rounds = job[Job.ROUNDS] + number * 8 * _NUM_FIELDS
    fields = array_at(rounds, (_NUM_FIELDS,), np.int64)
    filters = job[Job.FILTERS] + number * 8 * _NUM_FILTERS
    row, node, count = fields[Field.ROW], fields[Field.NODE], fields[Field.NUM_NODES]
    table = array_at(job[Job.NODES], (_NUM_COLUMNS, num_nodes), np.int64)[:, node : node + count]
    words = array_at(job[Job.WORDS], (job[Job.NUM_WORDS],), np.int64)
    numbers = array_at(job[Job.NUMBERS], (job[Job.NUM_NUMBERS],), np.float64)
    column = 4 * _even(vocab_size)
    return _Round(
        fields,
        array_at(filters, (_NUM_FILTERS,), np.float64),
        array_at(job[Job.LOGITS] + row * vocab_size * 4, (count + 1, vocab_size), np.float32),
        array_at(job[Job.DRAWS] + row * 8, (count + 1,), np.float64),
        array_at(job[Job.KEYS] + row * 8, (count + 1,), np.uint64),
        table[Node.TOKEN],
        table[Node.PARENT],
        table[Node.LAW],
        table[Node.PATH],
        array_at(job[Job.CHANCES] + node * 8, (count,), np.float64),
        words[max(fields[Field.WORD], 0) :],
        numbers[max(fields[Field.NUMBER], 0) :],
        array_at(memory, (vocab_size,), np.float32),
        array_at(memory + column, (vocab_size,), np.int32),
        array_at(memory + 2 * column, (vocab_size,), np.float32),
        array_at(memory + 3 * column, ((vocab_size + BLOCK - 1) // BLOCK,), np.float64),
    )


@njit(cache=True)
def _logits(part, row, depth):
    """A row's logits, behind the first `depth` nodes of the path, as temperature finds them."""
    if part.fields[Field.WORD] < 0:
        return part.logits[row]
    drafted = np.empty(depth, np.int64)
    for i in range(depth):
        drafted[i] = part.tokens[part.path[i]]
    adjust_row(part.logits[row], part.words, part.numbers, drafted, part.adjusted)
    return part.adjusted


@njit(cache=True)
def _law(part, row, depth):
    """A row's law as `shares_of` gives it, in memory that the next law takes."""
    filters = part.filters
    return shares_of(
        _logits(part, row, depth),
        filters[Filter.SCALE],
        filters[Filter.MIN_P],
        part.fields[Field.TOP_K],
        filters[Filter.TOP_P],
        part.shares,
        part.ids,
        part.sums,
    )


@njit(cache=True)
def _own(part, row, depth):
    """The target's own token at a row; −1 if there is none."""
    way = part.fields[Field.WAY]
    if way == Way.LIKELIEST:
        return likeliest(_logits(part, row, depth))[0]
    law, _, ids = _law(part, row, depth)
    if way != Way.RACE:
        return drawn(law, ids, part.draws[row])
    place = winner_of(law, ids, part.keys[row])
    return np.int64(ids[place]) if ids.size and place >= 0 else place


@njit(cache=True)
def _child(part, row, after):
    """The first node behind `row` after node `after`, from row − 1 on; −1 if there is none."""
    for node in range(after + 1, part.parents.size):
        if part.parents[node] == row - 1:
            return node
    return -1


@njit(cache=True)
def _match(part):
    row = depth = np.int64(0)  # a literal would be compiled for apart
    while True:
        own = _own(part, row, depth)
        node = _child(part, row, row - 1)
        while node >= 0 and part.tokens[node] != own:
            node = _child(part, row, node)
        if node < 0:
            return depth, own
        part.path[depth] = node
        depth += 1
        row = node + 1


@njit(cache=True)
def _only(part):
    row = part.fields[Field.ONLY_ROW]
    depth, node = np.int64(0), row - 1
    while node >= 0:
        depth += 1
        node = part.parents[node]
    place, node = depth, row - 1
    while node >= 0:
        place -= 1
        part.path[place] = node
        node = part.parents[node]
    return depth, _own(part, row, depth)


@njit(cache=True)
def _share(law, ids, token):
    """A token's share of a law."""
    if ids.size == 0:
        return law[token]
    first, last = 0, ids.size  # where it is, if it is there
    while last - first > 1:
        middle = (first + last) // 2
        if ids[middle] <= token:
            first = middle
        else:
            last = middle
    return law[first] if ids[first] == token else np.float32(0)


@njit(fastmath={"reassoc", "contract", "nsz"})
def _sum_above(law, q, weight):
    total = 0.0
    for i in range(law.size):
        total += max(law[i] * weight - q[i], np.float32(0))
    return total


@njit(cache=True)
def _left(law, ids, q, weight):
    """The sum of what lies above the drafter's law `q` [V] in a law times `weight`."""
    if ids.size == 0:
        return _sum_above(law, q, weight)
    total = 0.0
    for i in range(law.size):
        total += max(law[i] * weight - q[ids[i]], np.float32(0))
    return total


@njit(cache=True)
def _take_left(law, ids, q, weight):
    """Leave of a law only what `_left` sums."""
    for i in range(law.size):
        token = ids[i] if ids.size else i
        law[i] = max(law[i] * weight - q[token], np.float32(0))


@njit(cache=True, error_model="numpy")
def _standard(part):
    row = depth = np.int64(0)
    one = np.float32(1)
    while True:
        law, total, ids = _law(part, row, depth)
        if law.size == 0:
            return depth, -1
        normalise(law, total)
        node = _child(part, row, row - 1)
        while node >= 0:
            q = array_at(part.laws[node], (part.shares.size,), np.float32)
            token = part.tokens[node]
            if part.chances[node] < _share(law, ids, token) / q[token]:
                break
            left = _left(law, ids, q, one)
            # The two may differ by rounding alone; then their difference holds no law.
            if left > 0:
                _take_left(law, ids, q, one)
                normalise(law, left)
            node = _child(part, row, node)
        if node < 0:
            return depth, drawn(law, ids, part.draws[row])
        part.path[depth] = node
        depth += 1
        row = node + 1


@njit(cache=True, error_model="numpy")
def _block(part):
    count = part.tokens.size
    weights = np.ones(count + 1, np.float32)  # Pᵢ in `verification.block`
    for i in range(count):
        part.path[i] = i
        q = array_at(part.laws[i], (part.shares.size,), np.float32)
        law, total, ids = _law(part, i, i)
        if law.size == 0:
            return i, -1
        normalise(law, total)
        token = part.tokens[i]
        ratio = weights[i] * _share(law, ids, token) / q[token]
        weights[i + 1] = ratio if ratio < 1 else np.float32(1)
    if count == 0 or part.chances[count - 1] < weights[count]:
        law, _, ids = _law(part, count, count)
        return count, drawn(law, ids, part.draws[count])
    for i in range(count - 1, -1, -1):
        q = array_at(part.laws[i], (part.shares.size,), np.float32)
        law, total, ids = _law(part, i, i)  # once more: to keep them all is dearer
        normalise(law, total)
        mass = _left(law, ids, q, weights[i])
        room = mass + 1 - weights[i]
        if i == 0 or room == 0 or part.chances[i - 1] < mass / room:
            if mass > 0:
                _take_left(law, ids, q, weights[i])
            return i, drawn(law, ids, part.draws[i])
    return 0, -1


@njit(cache=True)
def _verify(job, number, memory):
    part = _round(job, number, memory)
    way = part.fields[Field.WAY]
    if part.fields[Field.ONLY_ROW] >= 0:
        num_accepted, token = _only(part)
    elif way == Way.STANDARD:
        num_accepted, token = _standard(part)
    elif way == Way.BLOCK:
        num_accepted, token = _block(part)
    else:
        num_accepted, token = _match(part)
    result = array_at(job[Job.RESULTS] + number * 16, (2,), np.int64)
    result[0], result[1] = num_accepted, token


@njit(cache=True, nogil=True)
def verify_piece(job, piece):
    """Decide each NUM_PIECES-th round of a job from the `piece`-th on.

    Args:
        job: int64, as `Job` says.
        piece: which; pieces share nothing that is written.
    """
    size = memory_size(job[Job.VOCAB_SIZE])
    for number in range(piece, job[Job.NUM_ROUNDS], job[Job.NUM_PIECES]):
        _verify(job, number, job[Job.MEMORY] + piece * size)


def verify_piece_at(job, piece):
    """Do `verify_piece` for a pointer to a job, once a pool of threads has compiled it."""
    verify_piece(carray(job, (_NUM_JOB,)), piece)
