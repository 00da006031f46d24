"""The two nouns that proposers, verifiers and the engine exchange: a draft and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Draft:
    """Guesses for the next tokens of one request: a chain.

    Args:
        token_ids: the guessed tokens, first to last; may be empty.
        probs: [len(token_ids), V], the law each token was drawn from; None means the tokens were
            chosen, not drawn (a point mass each).
    """

    token_ids: tuple[int, ...] = ()
    probs: Any = None

    def __len__(self) -> int:
        return len(self.token_ids)

    def trimmed(self, length: int) -> Draft:
        """The first `length` tokens; any beginning of a draft is a draft."""
        if length >= len(self):
            return self
        length = max(length, 0)
        probs = None if self.probs is None else self.probs[:length]
        return Draft(self.token_ids[:length], probs)


EMPTY_DRAFT = Draft()


@dataclass(frozen=True)
class Verdict:
    """What verification decided for one draft.

    Args:
        path: indices of the accepted draft tokens, in order.
        token: the one token after them: the recovered token after a rejection, the bonus token
            where everything was accepted.
    """

    path: tuple[int, ...]
    token: int

    @property
    def num_accepted(self) -> int:
        """How many draft tokens stand."""
        return len(self.path)
