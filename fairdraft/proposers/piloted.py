"""Proposers that run several methods and leave to the autopilot who drafts, and how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from operator import eq
from time import perf_counter

from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.economics.autopilot.decision import Decision, Decoding
from fairdraft.economics.autopilot.pilot import Autopilot, Found
from fairdraft.economics.autopilot.unverified import Confirmed
from fairdraft.proposers.base import Proposer, Settled
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise


class StepDrafts:
    """Drafts of one step, method by method; see `Drafting` for what the autopilot asks of it.

    Args:
        proposers: by method.
        requests, slots, noise: as for `Proposer.propose`.
    """

    def __init__(
        self,
        proposers: Mapping[str, Proposer],
        requests: Sequence[Request],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> None:
        self._proposers = proposers
        self._requests = requests
        self._slots = slots
        self._noise = noise
        self._found: dict[str, list[Draft]] = {}
        self._drafted: dict[int, Draft] = {}

    def look_up(self, method: str) -> list[Found | None]:
        """Have a lookup draft for every request, at its longest."""
        proposer = self._proposers[method]
        budgets = [proposer.num_speculative_tokens] * len(self._requests)
        drafts = proposer.propose(self._requests, budgets, self._slots, self._noise)
        self._found[method] = drafts
        return [
            _found(request, draft) if len(draft) else None
            for request, draft in zip(self._requests, drafts, strict=True)
        ]

    def draft(self, method: str, places: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Have a drafter draft for some requests, so far at most."""
        requests = [self._requests[i] for i in places]
        slots = [self._slots[i] for i in places]
        drafts = self._proposers[method].propose(requests, lengths, slots, self._noise)
        self._drafted.update(zip(places, drafts, strict=True))
        return [len(draft) for draft in drafts]

    def num_deferred(self, method: str, places: Sequence[int]) -> int:
        """Count the rows of some requests that a drafter has put off reading."""
        return self._proposers[method].num_deferred(self._names(places))

    def catch_up(self, method: str, places: Sequence[int]) -> None:
        """Have a drafter read what it has put off of some requests."""
        self._proposers[method].catch_up(self._names(places))

    def _names(self, places: Sequence[int]) -> list[str]:
        return [self._requests[i].request_id for i in places]

    def decided(self, decision: Decision) -> list[Draft]:
        """Return each request's draft: a drafter's as it is, a lookup's cut to its length."""
        drafts = []
        for i, (method, length) in enumerate(zip(decision.methods, decision.lengths, strict=True)):
            if i in self._drafted:
                drafts.append(self._drafted[i])
            elif method is not None:
                drafts.append(self._found[method][i].trimmed(length))
            else:
                drafts.append(EMPTY_DRAFT)
        return drafts


class PilotedProposer(Proposer):
    """Several methods, of which the autopilot says for each request and step who drafts.

    What lookups found is judged by the text that follows, so that they cost nothing to try; a
    drafter is chosen by what its drafts came to before, never by what it drew, for that would bias
    the text.

    Attributes:
        proposers: by method.
        autopilot: with its beliefs, costs and decisions; set by `bind`.
        clock: seconds from any fixed moment, by which methods are timed.

    Args:
        num_speculative_tokens: longest draft.
        proposers: by method.
    """

    autopilot: Autopilot
    clock: Callable[[], float] = staticmethod(perf_counter)

    def __init__(self, num_speculative_tokens: int, proposers: dict[str, Proposer]) -> None:
        super().__init__(num_speculative_tokens)
        self.proposers = proposers
        self._requests: dict[str, Request] = {}

    @property
    def lookups(self) -> list[str]:
        """Methods whose drafts may be looked at."""
        return [name for name, proposer in self.proposers.items() if proposer.is_lookup]

    @property
    def drafters(self) -> dict[str, int]:
        """The other methods, each with the longest draft that it makes."""
        return {
            name: proposer.num_speculative_tokens
            for name, proposer in self.proposers.items()
            if not proposer.is_lookup
        }

    def start(self, request: Request) -> None:
        """Note that a request begins, or begins again."""
        self.autopilot.start(request.request_id)
        self._requests[request.request_id] = request
        for proposer in self.proposers.values():
            proposer.start(request)

    def observe(self, rows: Settled) -> None:
        """Note what the step took; methods that nobody asks keep what they may need later."""
        self.autopilot.ran(rows.request_ids, rows.seconds)
        start = self.clock()
        for name, proposer in self.proposers.items():
            if self.autopilot.defers(name):
                proposer.defer(rows)
            else:
                proposer.observe(rows)
        self.autopilot.read(self.clock() - start)

    def finish(self, request_id: str) -> None:
        """Learn what is left to learn, and forget the request."""
        if request := self._requests.pop(request_id, None):
            self.autopilot.finish(_decoding(request))
        for proposer in self.proposers.values():
            proposer.finish(request_id)

    def rests(self, requests: Sequence[Request]) -> bool:
        """Tell whether nothing is drafted, without a decision."""
        return self.autopilot.rests([request.request_id for request in requests])

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Return the drafts that the autopilot decides on."""
        drafts = StepDrafts(self.proposers, requests, slots, noise)
        states = [_decoding(r, budget) for r, budget in zip(requests, budgets, strict=True)]
        return drafts.decided(self.autopilot.decide(states, drafts))


def _decoding(request: Request, budget: int = 0) -> Decoding:
    """Return a request as the autopilot sees it."""
    counters = request.counters
    return Decoding(
        request.request_id,
        request.num_tokens,
        budget,
        request.params.temperature,
        counters.num_steps,
        counters.num_draft_tokens,
        counters.num_accepted_tokens,
    )


def _found(request: Request, draft: Draft) -> Found:
    """Return a lookup's draft that begins where a request's text ends, as the autopilot sees it."""
    if draft.is_chain:
        return Found(len(draft), len(draft), _chain_confirmed(request, draft))
    return Found(max(draft.depths), len(draft), _tree_confirmed(request, draft))


def _chain_confirmed(request: Request, draft: Draft) -> Confirmed:
    begin, token_ids = request.num_tokens, draft.token_ids

    def confirmed(place: int) -> int:
        agree = map(eq, token_ids, request.token_ids[begin:place])
        return sum(takewhile(bool, agree))

    return confirmed


def _tree_confirmed(request: Request, draft: Draft) -> Confirmed:
    begin, token_ids = request.num_tokens, draft.token_ids

    def confirmed(place: int) -> int:
        row = depth = 0
        for token in request.token_ids[begin:place]:
            agree = (node for node in draft.children[row] if token_ids[node] == token)
            node = next(agree, None)
            if node is None:
                break
            row, depth = node + 1, depth + 1
        return depth

    return confirmed
