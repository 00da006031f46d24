"""Prompt lookup: find the last few tokens earlier in the text and copy what followed.

Saxena 2023, "Prompt Lookup Decoding". Costs almost nothing, and helps where a text repeats itself:
code, summaries, rewriting.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairdraft.config import require, require_int
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.proposers.base import Needs, PerRequestProposer
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise

MATCHES = ("latest", "earliest")


class NgramIndex:
    """Where each n-gram of one text was last, or first, followed by something.

    Kept up to date token by token; adding a token costs one dictionary entry per length, and a
    lookup at most one per length, however long the text is.

    Args:
        shortest, longest: lengths of the n-grams.
        earliest: remember the first place instead of the last.
    """

    def __init__(self, shortest: int, longest: int, earliest: bool) -> None:
        self.shortest = shortest
        self.longest = longest
        self.earliest = earliest
        self._length = 0
        self._after: dict[tuple[int, ...], int] = {}

    def extend(self, token_ids: Sequence[int]) -> None:
        """Index the tokens added to the text since the last call.

        An n-gram enters once the token after it is known, so that the text's own end is never its
        own match.
        """
        for end in range(max(self._length, 1), len(token_ids)):
            for n in range(self.shortest, min(self.longest, end) + 1):
                key = tuple(token_ids[end - n : end])
                if self.earliest:
                    self._after.setdefault(key, end)
                else:
                    self._after[key] = end
        self._length = len(token_ids)

    def lookup(self, token_ids: Sequence[int]) -> int | None:
        """Index of the token that followed the longest known n-gram the text ends with."""
        count = len(token_ids)
        for n in range(min(self.longest, count), self.shortest - 1, -1):
            place = self._after.get(tuple(token_ids[count - n :]))
            if place is not None:
                return place
        return None


class NgramProposer(PerRequestProposer):
    """Drafts by prompt lookup. Keys and defaults are vLLM's.

    Args:
        num_speculative_tokens: draft length k.
        prompt_lookup_max: longest n-gram to look for, tried first; 5 if neither key is given, else
            the other one's value.
        prompt_lookup_min: shortest n-gram to look for; as above.
        prompt_lookup_match: "latest" or "earliest" occurrence. Default "latest": of the two it
            copied a little more on gsm8k and mt_bench and about as much on humaneval
            (docs/benchmarks.md).

    Raises:
        ConfigError: a length below 1, min above max, or an unknown match.
    """

    needs = Needs(rows=False)
    is_lookup = True

    def __init__(
        self,
        num_speculative_tokens: int,
        prompt_lookup_max: int | None = None,
        prompt_lookup_min: int | None = None,
        prompt_lookup_match: str = "latest",
    ) -> None:
        super().__init__(num_speculative_tokens)
        if prompt_lookup_max is None:
            prompt_lookup_max = 5 if prompt_lookup_min is None else prompt_lookup_min
        if prompt_lookup_min is None:
            prompt_lookup_min = prompt_lookup_max
        require_int("prompt_lookup_max", prompt_lookup_max, 1, "3 to 5 is usual")
        require_int("prompt_lookup_min", prompt_lookup_min, 1, "2 is usual")
        require(
            prompt_lookup_min <= prompt_lookup_max,
            f"prompt_lookup_min is {prompt_lookup_min}, above prompt_lookup_max "
            f"{prompt_lookup_max}: lower the first or raise the second",
        )
        require(
            prompt_lookup_match in MATCHES,
            f"prompt_lookup_match is {prompt_lookup_match!r}, but must be one of "
            f"{', '.join(MATCHES)}",
        )
        self.prompt_lookup_max = prompt_lookup_max
        self.prompt_lookup_min = prompt_lookup_min
        self.earliest = prompt_lookup_match == "earliest"
        self._indexes: dict[str, NgramIndex] = {}

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """What followed the last occurrence of each text's end."""
        index = self._indexes.get(request.request_id)
        if index is None:
            index = NgramIndex(self.prompt_lookup_min, self.prompt_lookup_max, self.earliest)
            self._indexes[request.request_id] = index
        text = request.token_ids
        index.extend(text)
        place = index.lookup(text)
        return EMPTY_DRAFT if place is None else Draft(copy_from(text, place, budget))

    def finish(self, request_id: str) -> None:
        """Drop the request's index."""
        self._indexes.pop(request_id, None)


def copy_from(text: Sequence[int], place: int, count: int) -> tuple[int, ...]:
    """`count` tokens from index `place` on; past the text's end the copy goes on into itself.

    A text that ends "a b a b" and copies from its third token goes on a b a b ….
    """
    period = len(text) - place
    if count <= period:
        return tuple(text[place : place + count])
    tail = text[place:]
    return tuple(tail[i % period] for i in range(count))
