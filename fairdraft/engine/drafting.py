"""The engine's side of a proposer: what it is shown, what it is asked, what it may answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fairdraft.engine.draft_lengths import DraftLengths
from fairdraft.engine.scheduler import ScheduledRequest, Scheduler
from fairdraft.errors import FairdraftError, ProposerError
from fairdraft.proposers import Proposer, Settled
from fairdraft.proposers.base import flaw_of
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise

_log = logging.getLogger("fairdraft")


class Drafting:
    """Asks a proposer for drafts, and names it where it fails.

    Args:
        proposer: drafts; bound to the target.
        lengths: how long each draft may be.
        noise: how drafters draw.
        scheduler: whose requests decode, and whose blocks have lookahead slots.
        vocab_size: of the target.
        max_model_len: longest text that the drafter reads, in tokens; None is the target's.
    """

    def __init__(
        self,
        proposer: Proposer,
        lengths: DraftLengths,
        noise: DraftNoise,
        scheduler: Scheduler,
        vocab_size: int,
        max_model_len: int | None = None,
    ) -> None:
        self.proposer = proposer
        self.lengths = lengths
        self.noise = noise
        self.scheduler = scheduler
        self.vocab_size = vocab_size
        self.max_model_len = max_model_len

    def start(self, step: Sequence[ScheduledRequest]) -> None:
        """Tell the proposer of requests that begin, or begin again after a preemption."""
        with naming(self.proposer, "start"):
            for entry in step:
                if entry.begins:
                    self.proposer.start(entry.request)

    def propose(self, settled: Settled) -> None:
        """Show what stands, and ask for the next step's drafts of the requests that decode."""
        proposer = self.proposer
        with naming(proposer, "observe"):
            proposer.observe(settled)
        decoding = [r for r in self.scheduler.running if r.decoding and r.finish_reason is None]
        if not decoding:
            return
        with naming(proposer, "rests"):
            if proposer.rests(decoding):
                return
        lengths = self.lengths.draft_lengths(decoding)
        wanted: list[Request] = []
        budgets: list[int] = []
        for request, length in zip(decoding, lengths, strict=True):
            budget = min(length, self._room(request))
            if budget > 0:
                wanted.append(request)
                budgets.append(budget)
        if not wanted:
            return
        slots = [self._lookahead(request) for request in wanted]
        with naming(proposer, "propose"):
            num_tokens = [request.num_tokens for request in wanted]
            drafts = proposer.propose(list(wanted), budgets, slots, self.noise)
            if num_tokens != [request.num_tokens for request in wanted]:
                raise ValueError("it changed a request's tokens, which only the target may")
            self._check(drafts, len(wanted))
        for request, budget, draft in zip(wanted, budgets, drafts, strict=True):
            request.hold(draft.trimmed(budget))

    def finish(self, request: Request) -> None:
        """Let the proposer forget a request; it has its tokens, so a failure is only logged."""
        try:
            self.proposer.finish(request.request_id)
        except Exception:
            _log.exception("the proposer %s failed in finish()", type(self.proposer).__name__)

    def _room(self, request: Request) -> int:
        """Return how many draft tokens the request could still take, one of the target's behind."""
        room = self.scheduler.max_model_len - request.num_tokens - 1
        if self.max_model_len is not None:
            room = min(room, self.max_model_len - request.num_tokens)
        if request.params.max_tokens is not None:
            room = min(room, request.params.max_tokens - request.num_output_tokens - 1)
        return room

    def _lookahead(self, request: Request) -> list[int]:
        """Return the slots behind the newest token that the drafter may write."""
        kv, start = self.scheduler.kv, request.num_computed_tokens
        room = len(request.block_table) * kv.block_size
        return kv.slots(request, start, min(start + self.scheduler.num_lookahead_tokens, room))

    def _check(self, drafts: object, count: int) -> None:
        """Raise `ValueError` unless these are so many drafts over the target's vocabulary."""
        if not isinstance(drafts, list) or len(drafts) != count:
            raise ValueError(f"it returned {drafts!r}, but must return a list of {count} drafts")
        for draft in drafts:
            flaw = flaw_of(draft, self.vocab_size, self.proposer.drafts_trees)
            if flaw is not None:
                raise ValueError(flaw)


@contextmanager
def naming(proposer: Proposer, hook: str) -> Iterator[None]:
    """Name a proposer in what one of its hooks raises; errors of ours are raised as they are."""
    try:
        yield
    except FairdraftError:
        raise
    except Exception as error:
        raise ProposerError(
            f"the proposer {type(proposer).__name__} failed in {hook}() "
            f"({type(error).__name__}: {error}): mend it, or choose another method"
        ) from error
