"""The block pool: reference counts and the prefix index. It knows ids and hashes, no requests."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

from fairdraft.errors import IntegrityError


class BlockPool:
    """Hands out KV blocks and takes them back.

    A block is free (nobody refers to it) or held by one or more block tables. A free block keeps
    its hash, and so can be found again, until it is handed out anew; the longest-free block goes
    first.

    Args:
        num_blocks: blocks in the pool, ids 0 … num_blocks − 1.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._references = [0] * num_blocks
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._hash_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        """Blocks that nobody refers to."""
        return len(self._free)

    def take(self, count: int) -> list[int] | None:
        """Hand out `count` blocks with one reference each, or None if so many are not free."""
        if count > len(self._free):
            return None
        blocks = [self._free.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
            known = self._hash_of.pop(block, None)
            if known is not None:
                del self._block_of[known]
        return blocks

    def share(self, block: int) -> None:
        """Add a reference to a block that is held or still findable by its hash."""
        if self._references[block] == 0:
            del self._free[block]
        self._references[block] += 1

    def give_back(self, blocks: Iterable[int]) -> None:
        """Drop one reference of each block.

        Raises:
            IntegrityError: a block has no reference to drop.
        """
        for block in blocks:
            if self._references[block] == 0:
                raise IntegrityError(f"block {block} is given back twice")
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None

    def publish(self, block: int, digest: bytes) -> None:
        """Make a full block of settled tokens findable by its hash.

        If an equal block is published already it stays the one that is found.
        """
        if digest not in self._block_of and block not in self._hash_of:
            self._block_of[digest] = block
            self._hash_of[block] = digest

    def find(self, digest: bytes) -> int | None:
        """The block with this hash, held or free, or None."""
        return self._block_of.get(digest)

    def check_integrity(self, block_tables: Iterable[Iterable[int]]) -> None:
        """Compare the books with the block tables of all live requests.

        Raises:
            IntegrityError: a block leaked, was freed while in use, or the prefix index is torn.
        """
        held = Counter(block for table in block_tables for block in table)
        for block in held:
            if not 0 <= block < self.num_blocks:
                raise IntegrityError(f"a block table holds {block}, which the pool does not have")
        for block, count in enumerate(self._references):
            if count != held[block]:
                raise IntegrityError(
                    f"block {block} has {count} references, but {held[block]} tables hold it"
                )
            if (count == 0) != (block in self._free):
                raise IntegrityError(f"block {block} with {count} references is filed wrongly")
        if {digest: block for block, digest in self._hash_of.items()} != self._block_of:
            raise IntegrityError("the prefix index and the blocks' hashes disagree")
