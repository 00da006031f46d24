"""The contract that every draft must keep, checked while a proposer runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairdraft.draft import Draft
from fairdraft.errors import FairdraftError
from fairdraft.proposers import Proposer
from fairdraft.proposers.base import flaw_of
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise


class ConformanceError(FairdraftError, AssertionError):
    """A proposer changes the target's output, or breaks the contract."""


class WatchedProposer(Proposer):
    """A proposer that passes everything on to another and checks each draft against the contract.

    Args:
        proposer: the one that is checked.
        vocab_size: of the target; drafted tokens must lie below it.
    """

    def __init__(self, proposer: Proposer, vocab_size: int) -> None:
        super().__init__(proposer.num_speculative_tokens)
        self.proposer = proposer
        self.vocab_size = vocab_size
        self.drafts_trees = proposer.drafts_trees
        self.is_lookup = proposer.is_lookup
        self.deterministic = True
        self.start = proposer.start  # type: ignore[method-assign]
        self.observe = proposer.observe  # type: ignore[method-assign]
        self.finish = proposer.finish  # type: ignore[method-assign]

    def bind(self, target: Any) -> None:
        """Bind it; its needs may be known only now."""
        self.proposer.bind(target)
        self.needs = self.proposer.needs

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """The proposer's drafts, if they keep the contract.

        Raises:
            ConformanceError: they do not; the message says how.
        """
        before = [list(request.token_ids) for request in requests]
        drafts = self.proposer.propose(requests, budgets, slots, noise)
        if len(drafts) != len(requests):
            raise ConformanceError(f"{len(requests)} requests got {len(drafts)} drafts")
        for request, text, budget, draft in zip(requests, before, budgets, drafts, strict=True):
            if request.token_ids != text:
                raise ConformanceError("propose changed a request's tokens")
            self._check(draft, budget)
        return drafts

    def _check(self, draft: Draft, budget: int) -> None:
        if flaw := flaw_of(draft, self.vocab_size, self.drafts_trees):
            raise ConformanceError(flaw)
        if len(draft) > budget:
            raise ConformanceError(f"{len(draft)} tokens were drafted, the budget is {budget}")
        if draft.probs is None or not len(draft):
            return
        if self.proposer.is_lookup:
            raise ConformanceError("a draft brought probs, but is_lookup says it was not drawn")
        self.deterministic = False
        for token, law in zip(draft.token_ids, draft.probs, strict=True):
            if len(law) != self.vocab_size or abs(float(law.sum()) - 1) > 1e-3:
                raise ConformanceError(
                    f"probs must be laws over {self.vocab_size} tokens that sum to 1, got "
                    f"{len(law)} entries that sum to {float(law.sum()):.4f}"
                )
            if not law[token] > 0:
                raise ConformanceError(f"token {token} was drawn from a law that gives it 0")
