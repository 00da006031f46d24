"""Slots for tokens, and which blocks may be found again by whom."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fairdraft import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.engine.scheduler import Scheduler
from fairdraft.errors import IntegrityError
from fairdraft.kv import KVManager
from fairdraft.kv.manager import hash_block
from fairdraft.request import Cut, Request

untimed = settings(deadline=None)
tokens = st.integers(0, 2)


def request_of(token_ids: Sequence[int], name: str = "r") -> Request:
    return Request(name, tuple(token_ids), SamplingParams(max_tokens=None))


def compute(kv: KVManager, request: Request, count: int) -> None:
    """Run the request's tokens up to `count`, as a step does."""
    assert kv.grow(request, count, count, 0) == count
    request.num_computed_tokens = count
    kv.publish(request)


def seen(kv: KVManager, token_ids: Sequence[int]) -> Request:
    """A request that went through the model whole and ended."""
    request = request_of(token_ids)
    compute(kv, request, len(token_ids))
    kv.free(request)
    return request


def reused(kv: KVManager, token_ids: Sequence[int]) -> int:
    """How many tokens a newcomer need not compute."""
    request = request_of(token_ids)
    kv.reuse_prefix(request)
    assert request.num_computed_tokens == len(request.block_table) * kv.block_size
    count = request.num_computed_tokens
    kv.free(request)
    return count


# --- hashes


@untimed
@given(
    blocks=st.lists(st.lists(tokens, min_size=3, max_size=3), min_size=1, max_size=4),
    change=st.data(),
)
def test_a_chained_hash_depends_on_every_token_before_it(
    blocks: list[list[int]], change: st.DataObject
) -> None:
    def chain(texts: list[list[int]]) -> list[bytes]:
        hashes = [b""]
        for text in texts:
            hashes.append(hash_block(hashes[-1], text))
        return hashes[1:]

    place = change.draw(st.integers(0, 3 * len(blocks) - 1))
    other = [list(block) for block in blocks]
    other[place // 3][place % 3] += 1 + change.draw(st.integers(0, 70_000))
    before, after = chain(blocks), chain(other)
    assert before[: place // 3] == after[: place // 3]
    assert not set(before[place // 3 :]) & set(after[place // 3 :])
    assert chain([list(block) for block in blocks]) == before


def test_order_within_a_block_matters() -> None:
    assert hash_block(b"", [1, 2, 3]) != hash_block(b"", [3, 2, 1])
    assert hash_block(b"", [1, 256]) != hash_block(b"", [257, 0])


# --- growing


@untimed
@given(
    num_blocks=st.integers(1, 8),
    block_size=st.integers(1, 4),
    taken=st.integers(0, 8),
    had=st.integers(0, 8),
    least=st.integers(1, 20),
    more=st.integers(0, 12),
    lookahead=st.integers(0, 6),
)
def test_growth_gives_least_to_most_or_changes_nothing(
    num_blocks: int,
    block_size: int,
    taken: int,
    had: int,
    least: int,
    more: int,
    lookahead: int,
) -> None:
    assume(taken + had <= num_blocks)
    kv = KVManager(num_blocks, block_size, enable_prefix_caching=True)
    assert kv.pool.take(taken) is not None
    request = request_of([0] * 40)
    if had:
        assert kv.grow(request, had * block_size, had * block_size, 0) == had * block_size
    table, free = list(request.block_table), kv.pool.num_free
    most = least + more
    slots_at_best = (had + free) * block_size - lookahead

    result = kv.grow(request, least, most, lookahead)

    if least > slots_at_best:
        assert result == 0
        assert request.block_table == table
        assert kv.pool.num_free == free
        return
    assert result == min(most, slots_at_best)
    assert request.block_table[:had] == table
    assert len(set(request.block_table)) == len(request.block_table)
    slots = len(request.block_table) * block_size
    assert slots >= result + lookahead
    if len(request.block_table) > had:
        assert slots - block_size < result + lookahead  # no block more than that
    assert kv.pool.num_free == free - (len(request.block_table) - had)


@pytest.mark.parametrize(("count", "blocks"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_blocks_for_tokens(count: int, blocks: int) -> None:
    assert KVManager(1, 4, True).num_blocks_for(count) == blocks


def test_slots_follow_the_block_table() -> None:
    kv = KVManager(9, 4, True)
    request = request_of([0] * 12)
    request.block_table = [7, 0, 3]
    assert kv.slots(request, 2, 9) == [30, 31, 0, 1, 2, 3, 12]
    assert kv.slots(request, 5, 5) == []


def test_freed_blocks_come_back_last_first() -> None:
    """The beginning of a prompt stays in the cache longest."""
    kv = KVManager(3, 4, True)
    first = seen(kv, [1] * 4 + [2] * 4 + [3] * 4)
    assert first.block_table == []
    assert first.num_computed_tokens == 0
    for survivors in (8, 4, 0):
        assert kv.pool.take(1) is not None
        assert reused(kv, [1] * 4 + [2] * 4 + [3] * 4 + [4]) == survivors


# --- reuse


@untimed
@given(
    block_size=st.integers(1, 4),
    cached=st.lists(st.lists(tokens, min_size=1, max_size=14), max_size=3),
    newcomer=st.lists(tokens, min_size=1, max_size=14),
)
def test_reuse_is_the_longest_common_beginning_but_never_the_last_token(
    block_size: int, cached: list[list[int]], newcomer: list[int]
) -> None:
    kv = KVManager(64, block_size, enable_prefix_caching=True)
    for text in cached:
        seen(kv, text)

    def common(text: list[int]) -> int:
        equal = [text[:n] == newcomer[:n] for n in range(1, min(len(text), len(newcomer)) + 1)]
        return min(sum(equal), len(newcomer) - 1) // block_size * block_size

    assert reused(kv, newcomer) == max(map(common, cached), default=0)
    kv.check_integrity([])


def test_a_block_is_not_reused_behind_another_beginning() -> None:
    kv = KVManager(16, 4, True)
    seen(kv, [1] * 4 + [2] * 4)
    assert reused(kv, [9] * 4 + [2] * 4 + [0]) == 0


def test_a_prompt_that_is_cached_whole_computes_its_last_block() -> None:
    kv = KVManager(16, 4, True)
    seen(kv, [1] * 8)
    assert reused(kv, [1] * 8) == 4
    assert reused(kv, [1] * 9) == 8


def test_running_requests_share_blocks() -> None:
    kv = KVManager(16, 4, True)
    first, second = request_of([1] * 10, "a"), request_of([1] * 8 + [2] * 3, "b")
    compute(kv, first, 10)
    kv.reuse_prefix(second)
    assert second.block_table == first.block_table[:2]
    assert second.num_cached_tokens == 8
    compute(kv, second, 11)
    assert second.block_table[2] != first.block_table[2]
    kv.check_integrity([first, second])
    kv.free(first)
    kv.check_integrity([second])
    assert kv.pool.num_free == 13
    kv.free(second)
    kv.check_integrity([])
    assert kv.pool.num_free == 16


def test_nothing_is_reused_where_caching_is_off() -> None:
    kv = KVManager(16, 4, enable_prefix_caching=False)
    seen(kv, [1] * 8)
    assert reused(kv, [1] * 9) == 0


# --- publishing


def test_an_incomplete_block_is_not_offered() -> None:
    kv = KVManager(16, 4, True)
    request = request_of([1] * 12)
    for computed, offered in ((3, 0), (4, 4), (7, 4), (8, 8), (11, 8)):
        compute(kv, request, computed)
        assert reused(kv, [1] * 13) == offered


def test_a_block_whose_newest_token_is_not_computed_is_not_offered() -> None:
    kv = KVManager(16, 4, True)
    request = request_of([1] * 7)
    compute(kv, request, 7)
    request.append(Cut([1]))
    kv.publish(request)
    assert reused(kv, [1] * 9) == 4
    compute(kv, request, 8)
    assert reused(kv, [1] * 9) == 8


def step_with(scheduler: Scheduler, verdict: Verdict) -> None:
    """Run a step of one request that ends in this verdict."""
    step = scheduler.schedule()
    scheduler.update_from_output(step, [verdict], [scheduler.cut(step[0], verdict)])


@pytest.mark.parametrize("accepted", range(6))
def test_rejected_drafts_are_not_offered(accepted: int) -> None:
    kv = KVManager(16, 2, True)
    scheduler = Scheduler(kv, 2, 64, 32)
    request = request_of([1, 1, 1])
    scheduler.add(request)
    step_with(scheduler, Verdict((), 5))
    request.hold(Draft((6, 6, 6, 6, 6)))
    verdict = Verdict(tuple(range(accepted)), 7)
    step_with(scheduler, verdict)
    kept = [1, 1, 1, 5] + [6] * accepted  # the 7 is not computed yet
    assert reused(kv, [1, 1, 1, 5, 6, 6, 6, 6, 6, 0]) == len(kept) // 2 * 2
    assert reused(kv, [*kept, 7, 0, 0]) == len(kept) // 2 * 2


def test_what_replaces_a_rejected_draft_is_offered_under_its_own_name() -> None:
    kv = KVManager(16, 2, True)
    scheduler = Scheduler(kv, 2, 64, 32)
    request = request_of([1, 1, 1])
    scheduler.add(request)
    step_with(scheduler, Verdict((), 5))
    request.hold(Draft((6, 6, 6)))
    step_with(scheduler, Verdict((), 8))
    step_with(scheduler, Verdict((), 9))
    step_with(scheduler, Verdict((), 0))
    assert request.token_ids == [1, 1, 1, 5, 8, 9, 0]
    assert reused(kv, [1, 1, 1, 5, 8, 9, 0]) == 6
    assert reused(kv, [1, 1, 1, 5, 6, 6, 6]) == 4


# --- planted faults


def test_a_request_dropped_without_freeing_is_a_leak() -> None:
    kv = KVManager(4, 4, True)
    request = request_of([1] * 5)
    compute(kv, request, 5)
    kv.check_integrity([request])
    with pytest.raises(IntegrityError):
        kv.check_integrity([])


def test_two_writers_of_one_block_are_noticed() -> None:
    kv = KVManager(4, 4, True)
    first, second = request_of([1] * 5, "a"), request_of([1] * 5, "b")
    compute(kv, first, 5)
    compute(kv, second, 5)
    kv.pool.give_back([second.block_table[1]])
    kv.pool.share(first.block_table[1])
    second.block_table[1] = first.block_table[1]
    with pytest.raises(IntegrityError, match="write"):
        kv.check_integrity([first, second])


def test_a_writer_in_another_requests_past_is_noticed() -> None:
    kv = KVManager(4, 4, True)
    reader, writer = request_of([1] * 9, "a"), request_of([2] * 3, "b")
    compute(kv, reader, 9)
    kv.pool.share(reader.block_table[0])
    writer.block_table = [reader.block_table[0]]  # computes 3 tokens into the reader's first block
    with pytest.raises(IntegrityError):
        kv.check_integrity([reader, writer])


def test_a_salt_keeps_prefixes_apart() -> None:
    kv = KVManager(16, 2, enable_prefix_caching=True)

    def request(salt: str | None) -> Request:
        return Request("r", (1, 2, 0, 1, 2), SamplingParams(max_tokens=None), cache_salt=salt)

    first = request("mine")
    compute(kv, first, 5)
    kv.free(first)
    for salt, tokens_found in ((None, 0), ("yours", 0), ("mine", 4)):
        again = request(salt)
        kv.reuse_prefix(again)
        assert again.num_computed_tokens == tokens_found
        kv.free(again)


# --- slots that depend on the token after them


@untimed
@given(texts=st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=14), min_size=1, max_size=6))
def test_a_reused_slot_saw_the_same_next_token(texts: list[list[int]]) -> None:
    """Whoever wrote it, and however deep the sharing goes."""
    kv = KVManager(64, 2, True, next_token=True)
    wrote: dict[int, int] = {}  # slot → the token that stood behind it when it was written
    for text in texts:
        request = request_of(text)
        kv.reuse_prefix(request)
        for place in range(request.num_computed_tokens):
            assert wrote[kv.slots(request, place, place + 1)[0]] == text[place + 1]
        first = request.num_computed_tokens
        compute(kv, request, len(text))
        for place in range(first, len(text) - 1):
            wrote[kv.slots(request, place, place + 1)[0]] = text[place + 1]
        kv.free(request)


def test_with_the_next_token_known_a_hit_is_as_deep_as_without() -> None:
    for next_token in (False, True):
        kv = KVManager(64, 4, True, next_token=next_token)
        seen(kv, list(range(20)))
        assert reused(kv, [*range(17), 99]) == 16
        assert reused(kv, [*range(16), 99, 98]) == (12 if next_token else 16)
