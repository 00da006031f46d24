"""The one question the engine asks about price: how long may each draft be?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fairdraft.request import Request


class DraftLengths(Protocol):
    """Chooses draft lengths before anything is drafted, so that it cannot see a drawn token."""

    def draft_lengths(self, requests: Sequence[Request]) -> list[int]:
        """Return the longest draft wanted for each decoding request; 0 drafts nothing."""


class FixedLength:
    """Draft lengths that are always the same.

    Args:
        num_speculative_tokens: that length.
    """

    def __init__(self, num_speculative_tokens: int) -> None:
        self.num_speculative_tokens = num_speculative_tokens

    def draft_lengths(self, requests: Sequence[Request]) -> list[int]:
        """Return k for every request."""
        return [self.num_speculative_tokens] * len(requests)


class LengthsByBatchSize:
    """A draft length for each number of requests that decode, as vLLM's key of that name has it.

    Args:
        lengths: (first, last, draft length), ascending without gaps; the last one holds beyond.
    """

    def __init__(self, lengths: Sequence[tuple[int, int, int]]) -> None:
        self.lengths = tuple(lengths)

    def draft_lengths(self, requests: Sequence[Request]) -> list[int]:
        """Return the draft length for so many requests."""
        count = len(requests)
        found = next((k for _, last, k in self.lengths if count <= last), self.lengths[-1][2])
        return [found] * count
