"""Who holds which block, checked by hand and by a machine that knows only the promises."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from fairdraft.errors import IntegrityError
from fairdraft.kv import BlockPool


def take(pool: BlockPool, count: int) -> list[int]:
    blocks = pool.take(count)
    assert blocks is not None
    return blocks


# --- by hand


def test_every_block_is_handed_out_once() -> None:
    pool = BlockPool(5)
    assert sorted(take(pool, 2) + take(pool, 3)) == [0, 1, 2, 3, 4]
    assert pool.num_free == 0


def test_all_or_nothing() -> None:
    pool = BlockPool(3)
    take(pool, 1)
    assert pool.take(3) is None
    assert pool.num_free == 2
    assert len(take(pool, 2)) == 2
    assert pool.take(1) is None
    assert pool.take(0) == []


def test_giving_back_twice() -> None:
    pool = BlockPool(2)
    (block,) = take(pool, 1)
    pool.give_back([block])
    with pytest.raises(IntegrityError, match=f"block {block} .*twice"):
        pool.give_back([block])
    with pytest.raises(IntegrityError):
        BlockPool(2).give_back([1])
    pool.check_integrity([])


def test_giving_back_twice_in_one_breath() -> None:
    pool = BlockPool(2)
    (block,) = take(pool, 1)
    with pytest.raises(IntegrityError, match=f"block {block} .*twice"):
        pool.give_back([block, block])


def test_the_longest_free_block_goes_first() -> None:
    pool = BlockPool(4)
    a, b, c, d = take(pool, 4)
    for block in (c, a, d, b):
        pool.give_back([block])
    assert take(pool, 3) == [c, a, d]
    pool.give_back([a, c])
    assert take(pool, 3) == [b, a, c]


def test_sharing_counts_holders() -> None:
    pool = BlockPool(1)
    (block,) = take(pool, 1)
    pool.share(block)
    pool.check_integrity([[block], [block]])
    pool.give_back([block])
    assert pool.num_free == 0
    assert pool.take(1) is None
    pool.give_back([block])
    assert pool.num_free == 1
    with pytest.raises(IntegrityError):
        pool.give_back([block])


def test_a_free_block_is_found_until_it_is_handed_out_anew() -> None:
    pool = BlockPool(2)
    first, second = take(pool, 2)
    pool.publish(first, b"first")
    assert pool.find(b"first") == first
    assert pool.find(b"second") is None
    pool.give_back([first])
    assert pool.find(b"first") == first
    assert take(pool, 1) == [first]
    assert pool.find(b"first") is None
    pool.give_back([first])
    assert pool.find(b"first") is None
    pool.check_integrity([[second]])


def test_sharing_a_free_block_revives_it() -> None:
    pool = BlockPool(2)
    first, second = take(pool, 2)
    pool.publish(first, b"first")
    pool.give_back([first, second])
    pool.share(first)
    assert pool.num_free == 1
    assert take(pool, 1) == [second]
    assert pool.take(1) is None
    assert pool.find(b"first") == first
    pool.check_integrity([[first], [second]])


def test_reuse_makes_a_block_young_again() -> None:
    pool = BlockPool(2)
    first, second = take(pool, 2)
    pool.publish(first, b"first")
    pool.give_back([first, second])
    pool.share(first)
    pool.give_back([first])
    assert take(pool, 2) == [second, first]


def test_of_two_equal_blocks_the_first_is_found() -> None:
    pool = BlockPool(2)
    first, second = take(pool, 2)
    pool.publish(first, b"same")
    pool.publish(second, b"same")
    assert pool.find(b"same") == first
    pool.give_back([second])
    assert take(pool, 1) == [second]
    assert pool.find(b"same") == first


# --- planted faults


def test_a_leak_is_noticed() -> None:
    pool = BlockPool(3)
    table = take(pool, 2)
    pool.check_integrity([table])
    with pytest.raises(IntegrityError, match=f"block {table[1]} "):
        pool.check_integrity([table[:1]])


def test_a_block_freed_while_in_use_is_noticed() -> None:
    pool = BlockPool(3)
    table = take(pool, 2)
    pool.give_back(table[:1])
    with pytest.raises(IntegrityError, match=f"block {table[0]} "):
        pool.check_integrity([table])


def test_a_block_in_two_tables_with_one_reference_is_noticed() -> None:
    pool = BlockPool(3)
    table = take(pool, 1)
    with pytest.raises(IntegrityError, match=f"block {table[0]} "):
        pool.check_integrity([table, table])


@pytest.mark.parametrize("stranger", [-1, 3, 99])
def test_a_block_that_the_pool_does_not_have_is_noticed(stranger: int) -> None:
    with pytest.raises(IntegrityError):
        BlockPool(3).check_integrity([[stranger]])


# --- by machine


class PoolMachine(RuleBasedStateMachine):
    """Holders take, share, publish and give back in any order.

    The model is what the docstrings promise: the blocks of each holder, when each free block was
    freed, and what each block was published as since it was last handed out.
    """

    @initialize(size=st.integers(1, 7))
    def build(self, size: int) -> None:
        self.size = size
        self.pool = BlockPool(size)
        self.holders: dict[int, list[int]] = {}
        self.freed_at = dict.fromkeys(range(size), 0)
        self.content: dict[int, bytes] = {}
        self.clock = 0

    def held(self) -> list[int]:
        return sorted({block for blocks in self.holders.values() for block in blocks})

    def drop(self, holder: int, place: int) -> None:
        block = self.holders[holder].pop(place)
        if block not in self.held():
            self.clock += 1
            self.freed_at[block] = self.clock

    @rule(holder=st.integers(0, 3), count=st.integers(0, 8))
    def take(self, holder: int, count: int) -> None:
        blocks = self.pool.take(count)
        if count > len(self.freed_at):
            assert blocks is None
            return
        assert blocks is not None
        ages = [self.freed_at.pop(block) for block in blocks]  # a KeyError: it was not free
        assert len(blocks) == count
        assert ages == sorted(ages)
        assert all(age <= other for age in ages for other in self.freed_at.values())
        for block in blocks:
            self.content.pop(block, None)
        self.holders.setdefault(holder, []).extend(blocks)

    @precondition(lambda self: self.held())
    @rule(holder=st.integers(0, 3), data=st.data())
    def share_a_held_block(self, holder: int, data: st.DataObject) -> None:
        block = data.draw(st.sampled_from(self.held()))
        self.pool.share(block)
        self.holders.setdefault(holder, []).append(block)

    @rule(holder=st.integers(0, 3), digest=st.sampled_from([b"a", b"b", b"c"]))
    def share_a_found_block(self, holder: int, digest: bytes) -> None:
        block = self.pool.find(digest)
        if block is not None:
            self.pool.share(block)
            self.freed_at.pop(block, None)
            self.holders.setdefault(holder, []).append(block)

    @precondition(lambda self: self.held())
    @rule(digest=st.sampled_from([b"a", b"b", b"c"]), data=st.data())
    def publish(self, digest: bytes, data: st.DataObject) -> None:
        # A block holds one text, and is published under that text's hash or not at all.
        block = data.draw(st.sampled_from(self.held()))
        if self.content.get(block, digest) == digest:
            self.pool.publish(block, digest)
            if digest not in self.content.values():
                self.content[block] = digest

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def give_some_back(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from([h for h, blocks in self.holders.items() if blocks]))
        count = data.draw(st.integers(1, len(self.holders[holder])))
        self.pool.give_back(self.holders[holder][:count])
        for _ in range(count):
            self.drop(holder, 0)

    @precondition(lambda self: self.freed_at)
    @rule(data=st.data())
    def give_back_what_nobody_holds(self, data: st.DataObject) -> None:
        block = data.draw(st.sampled_from(sorted(self.freed_at)))
        with pytest.raises(IntegrityError):
            self.pool.give_back([block])

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.pool.num_free == self.size - len(self.held()) == len(self.freed_at)
        self.pool.check_integrity(self.holders.values())

    @invariant()
    def what_is_published_is_found(self) -> None:
        found = {digest: self.pool.find(digest) for digest in (b"a", b"b", b"c")}
        block_of = {digest: block for block, digest in self.content.items()}
        assert {d: b for d, b in found.items() if b is not None} == block_of

    @invariant()
    def a_missing_table_is_a_leak(self) -> None:
        for holder, blocks in self.holders.items():
            if blocks:
                rest = [b for h, b in self.holders.items() if h != holder]
                with pytest.raises(IntegrityError):
                    self.pool.check_integrity(rest)


PoolMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestPoolMachine = PoolMachine.TestCase
