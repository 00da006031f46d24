"""Drafts of lookups, judged by the text that follows, however much of them was verified.

A lookup's draft was chosen, not drawn: to compare it with what was written is lossless, and tells
what it would have been worth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import NamedTuple

Confirmed = Callable[[int], int]  # place in the text → draft tokens that it confirms up to there
Learn = Callable[[str, str, Hashable, int, int], None]


class UnverifiedDraft(NamedTuple):
    """A lookup's draft that waits for the text to judge it.

    Args:
        method, kind: whose, and of what kind.
        begin: place of its first token in the text.
        depth: tokens that can stand; of a tree, its longest path.
        confirmed: of them, those that the text has confirmed up to a place.
    """

    method: str
    kind: Hashable
    begin: int
    depth: int
    confirmed: Confirmed


class UnverifiedDrafts:
    """Lookups' drafts of all requests that wait for the text to judge them.

    Args:
        learn: is told each verdict: method, request, kind, tokens drafted, tokens that stood.
    """

    def __init__(self, learn: Learn) -> None:
        self._learn = learn
        self._waiting: defaultdict[str, list[UnverifiedDraft]] = defaultdict(list)
        self._right: dict[str, set[str]] = {}  # methods whose last draft agrees with the text

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, request_id: str, draft: UnverifiedDraft) -> None:
        """Let a draft wait."""
        self._waiting[request_id].append(draft)

    def right(self, request_id: str, method: str) -> bool:
        """Tell whether the method was right when it last found something.

        It was if the text got no further than its draft, or than the bonus token behind one that
        stood whole.
        """
        return method in self._right.get(request_id, ())

    def judge(self, request_id: str, num_tokens: int) -> None:
        """Settle what a text of so many tokens can settle."""
        right, waiting = set(), []
        for draft in self._waiting.pop(request_id, ()):
            stood = draft.confirmed(num_tokens)
            whole = stood == draft.depth
            left = num_tokens - draft.begin - stood  # tokens that it did not foresee
            if left <= whole:
                right.add(draft.method)
            if left or whole:
                self._learn(draft.method, request_id, draft.kind, draft.depth, stood)
            else:
                waiting.append(draft)
        self._right[request_id] = right
        if waiting:
            self._waiting[request_id] = waiting

    def finish(self, request_id: str, num_tokens: int) -> None:
        """Settle what waits for a text that ended: it was right as far as the text goes."""
        self.judge(request_id, num_tokens)
        for draft in self._waiting.pop(request_id, ()):
            if stood := draft.confirmed(num_tokens):
                self._learn(draft.method, request_id, draft.kind, stood, stood)
        del self._right[request_id]
