"""Block tables: which blocks a request holds, and which of them others may reuse."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from fairdraft.errors import IntegrityError
from fairdraft.kv.pool import BlockPool
from fairdraft.request import Request


def hash_block(parent: bytes, token_ids: Sequence[int]) -> bytes:
    """Hash of a full block that depends on every token before it (16 bytes, BLAKE2b)."""
    tokens = b"".join(token.to_bytes(4, "little") for token in token_ids)
    return hashlib.blake2b(parent + tokens, digest_size=16).digest()


def _root(request: Request) -> bytes:
    """What the first block's hash begins with: the request's salt, if it has one."""
    return b"" if request.cache_salt is None else request.cache_salt.encode()


class KVManager:
    """Gives requests their slots.

    Args:
        num_blocks: blocks in the pool.
        block_size: tokens in a block.
        enable_prefix_caching: whether equal prompt beginnings share blocks.
        next_token: whether what lies in a slot depends on the token after it too. A block is then
            known by its tokens and the one behind them.
    """

    def __init__(
        self,
        num_blocks: int,
        block_size: int,
        enable_prefix_caching: bool,
        next_token: bool = False,
    ) -> None:
        self.pool = BlockPool(num_blocks)
        self.block_size = block_size
        self.enable_prefix_caching = enable_prefix_caching
        self.next_token = next_token

    def num_blocks_for(self, num_tokens: int) -> int:
        """Blocks that `num_tokens` tokens fill, the last one perhaps in part."""
        return -(-num_tokens // self.block_size)

    def grow(self, request: Request, least: int, most: int, num_lookahead_tokens: int) -> int:
        """Give `request` slots for `most` tokens, or for fewer where the pool runs short.

        Args:
            request: whose block table grows.
            least: tokens below which it is no use.
            most: tokens wanted, `num_computed_tokens` included.
            num_lookahead_tokens: slots reserved beyond them, for a drafter that writes KV.

        Returns:
            How many tokens have slots now, `least` ≤ result ≤ `most`; 0 if not even `least` fit, in
            which case nothing changed.
        """
        room = len(request.block_table) + self.pool.num_free
        fits = min(most, room * self.block_size - num_lookahead_tokens)
        if fits < least:
            return 0
        missing = self.num_blocks_for(fits + num_lookahead_tokens) - len(request.block_table)
        if missing > 0:
            request.block_table.extend(self.pool.take(missing) or [])
        return fits

    def reuse_prefix(self, request: Request) -> None:
        """Let a request without blocks start from cached ones that hold its first tokens.

        The last token is always computed, for its logits are wanted.
        """
        if not self.enable_prefix_caching:
            return
        parent = _root(request)
        for end in range(self.block_size, request.num_tokens, self.block_size):
            parent = hash_block(parent, self._tokens(request, end))
            block = self.pool.find(parent)
            if block is None:
                break
            self.pool.share(block)
            request.block_table.append(block)
            request.block_hashes.append(parent)
        request.reuse(len(request.block_table) * self.block_size)

    def publish(self, request: Request) -> None:
        """Offer for reuse the full blocks whose tokens are all accepted and computed.

        `num_computed_tokens` counts no rejected draft when this is called, and so no block with
        a draft in it gets a hash.
        """
        if not self.enable_prefix_caching:
            return
        hashes = request.block_hashes
        known = min(request.num_computed_tokens, request.num_tokens - self.next_token)
        for i in range(len(hashes), known // self.block_size):
            tokens = self._tokens(request, (i + 1) * self.block_size)
            hashes.append(hash_block(hashes[-1] if hashes else _root(request), tokens))
            self.pool.publish(request.block_table[i], hashes[-1])

    def _tokens(self, request: Request, end: int) -> list[int]:
        """What the block that ends before token `end` is known by."""
        return request.token_ids[end - self.block_size : end + self.next_token]

    def free(self, request: Request) -> None:
        """Take back every block of a request, which begins anew.

        The last block is handed out again first: the beginning of a prompt is likelier to be asked
        for again than its end.
        """
        self.pool.give_back(reversed(request.block_table))
        request.reset()

    def slots(self, request: Request, start: int, end: int) -> list[int]:
        """Slots of the tokens start … end − 1."""
        size, table = self.block_size, request.block_table
        return [table[i // size] * size + i % size for i in range(start, end)]

    def check_integrity(self, requests: Iterable[Request]) -> None:
        """Check pool and tables against each other.

        Raises:
            IntegrityError: a leak, a double free, or a block that two requests write.
        """
        requests = list(requests)
        self.pool.check_integrity(request.block_table for request in requests)
        holders = Counter(block for request in requests for block in request.block_table)
        for request in requests:
            for block in request.block_table[request.num_computed_tokens // self.block_size :]:
                if holders[block] > 1:
                    raise IntegrityError(f"a request writes to block {block}, which others hold")
