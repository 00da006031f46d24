"""The autopilot: decides who drafts what in each step, and learns from what became of it.

It knows no engine, no token and no clock but the one it is given. Whoever drives it, a proposer
while the engine runs or `replay` over a trace, calls it at the same places of a step:

    decide    before a step's drafting: look up first, or not; decide; have the drafters draft
    ran       after the step: what it took
    defers    whether a drafter puts off reading the step's rows, and then `read`: what that took
    finish    a request ended

and runs the methods that it is told to (`Drafting`). What it keeps is statistics, never text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, Protocol

from fairdraft.economics.autopilot.decision import (
    Chooser,
    Decision,
    Decoding,
    Offer,
    Offers,
    temperature_level,
)
from fairdraft.economics.autopilot.unverified import (
    Confirmed,
    UnverifiedDraft,
    UnverifiedDrafts,
)

OFF = "off"  # among decisions: nothing was drafted
PLAIN_STEPS = 4  # of so many, one is learned from: they are alike, and learning takes its time


class Found(NamedTuple):
    """A draft that a lookup found, as far as deciding needs to know it.

    Args:
        depth: tokens that can stand; of a tree, its longest path.
        size: draft tokens, of a tree its nodes.
        confirmed: how many the text confirms, up to a place in it.
    """

    depth: int
    size: int
    confirmed: Confirmed


class Drafting(Protocol):
    """The methods of one step, run for the autopilot; tokens stay with whoever drives it.

    Requests are named by their place among those that `decide` was given.
    """

    def look_up(self, method: str) -> Sequence[Found | None]:
        """Return what a lookup finds for each request at its longest; None where it is nothing."""

    def draft(self, method: str, places: Sequence[int], lengths: Sequence[int]) -> Sequence[int]:
        """Have a drafter draft for some requests, so far at most; return how far it did."""

    def num_deferred(self, method: str, places: Sequence[int]) -> int:
        """Return the rows of some requests that a drafter has put off reading."""

    def catch_up(self, method: str, places: Sequence[int]) -> None:
        """Have a drafter read what it has put off of some requests."""


@dataclass(frozen=True)
class _Awaited:
    """A drafter's draft that waits for its verdict.

    Args:
        method, kind: whose, and of what kind.
        gave_up: the length asked for, where it stopped before; that counts as a failure. Else 0.
        before: the request as it was.
    """

    method: str
    kind: Hashable
    gave_up: int
    before: Decoding


class Autopilot:
    """Who drafts what, step by step, with a memory of what drafts came to and what steps cost.

    Attributes:
        beliefs: by method, what its drafts are expected to come to.
        decisions: how often each (method, length) was taken, a request each; ("off", 0) is nothing.

    Args:
        chooser: chooses among what methods offer.
        longest: by drafter, the longest draft that it makes.
        clock: seconds from any fixed moment.
    """

    def __init__(
        self,
        chooser: Chooser,
        longest: Mapping[str, int],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.chooser = chooser
        self.beliefs = chooser.beliefs
        self.decisions: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._longest = dict(longest)
        self._clock = clock
        self._unverified = UnverifiedDrafts(self._learn)
        self._awaited: dict[str, _Awaited] = {}
        self._under_way: dict[str, int] = {}  # draft tokens of the step that runs, by request
        self._decoded = False  # the last step ran only what was decided for it
        self._num_plain = 0
        self._reading = 0.0  # seconds that drafters took to read the last step's rows
        self._context = 0.0
        self._in_favour: set[str] = set()  # drafters that were asked in the last decision

    def start(self, request_id: str) -> None:
        """Note that a request begins, or begins again: a draft of it was dropped unverified."""
        self._awaited.pop(request_id, None)

    def finish(self, request: Decoding) -> None:
        """Learn what is left to learn from a request that ended, and forget it."""
        self._settle(request)
        self._unverified.finish(request.request_id, request.num_tokens)
        self.chooser.forget(request.request_id)

    def rests(self, request_ids: Sequence[str]) -> bool:
        """Tell whether nothing is drafted in this step, without a decision."""
        resting = self.chooser.rests(request_ids)
        if resting:
            self.decisions[OFF, 0] += len(request_ids)
        return resting

    def ran(self, request_ids: Sequence[str], seconds: float) -> None:
        """Learn what a step took.

        Args:
            request_ids: that ran in it, reading a prompt or decoding.
            seconds: all of it but drafting.
        """
        under_way = self._under_way
        self._decoded = bool(under_way) and under_way.keys() == set(request_ids)
        drafted = sum(under_way.values())
        self._num_plain += not drafted
        if self._decoded and (drafted or self._num_plain % PLAIN_STEPS == 0):
            self.chooser.costs.learn_step(len(under_way), drafted, self._context, seconds)
        self._under_way = {}

    def defers(self, method: str) -> bool:
        """Tell whether a method puts off reading the last step's rows until it is asked."""
        return self.chooser.defers and method not in self._in_favour

    def read(self, seconds: float) -> None:
        """Note what it took all methods to read the last step's rows, or to put that off."""
        self._reading = seconds

    def decide(self, requests: Sequence[Decoding], drafting: Drafting) -> Decision:
        """Decide what the next step drafts, and have it drafted.

        Args:
            requests: that decode, at least one, each with a budget of at least one token.
            drafting: runs the methods. Lookups' drafts are then to be cut to the lengths decided.
        """
        start = self._clock()
        self._in_favour = set()
        for request in requests:
            self._settle(request)
        self._context = sum(request.num_tokens for request in requests) / len(requests)
        looked = self.chooser.wants_lookup(len(requests), self._context)
        found = self._look_up(requests, drafting) if looked else [{} for _ in requests]
        decision = self._choose(requests, found, drafting, looked)
        sizes = list(decision.lengths)
        for i, (method, length) in enumerate(zip(decision.methods, decision.lengths, strict=True)):
            self.decisions[method or OFF, length] += 1
            if method in found[i]:
                sizes[i] = min(length, found[i][method].size)
        for drafter in self.chooser.drafters:
            places = [i for i, method in enumerate(decision.methods) if method == drafter]
            if places:
                made = self._ask(drafter, places, decision, requests, drafting)
                for i, size in zip(places, made, strict=True):
                    sizes[i] = size
        self._under_way = {
            request.request_id: size for request, size in zip(requests, sizes, strict=True)
        }
        if not any(decision.lengths):
            self.chooser.learn_deciding(self._clock() - start)
        return decision

    def _look_up(self, requests: Sequence[Decoding], drafting: Drafting) -> list[dict[str, Found]]:
        """Return what each lookup finds for each request, by method; the text will judge it."""
        found: list[dict[str, Found]] = [{} for _ in requests]
        for method in self.chooser.lookups:
            start = self._clock()
            drafts = drafting.look_up(method)
            seconds = self._clock() - start
            self.chooser.costs.learn_draft(method, len(requests), 1, self._context, seconds)
            for offers, request, draft in zip(found, requests, drafts, strict=True):
                if draft is not None:
                    offers[method] = draft
                    kind = self._kind_found(request, method, draft.depth)
                    waits = UnverifiedDraft(
                        method, kind, request.num_tokens, draft.depth, draft.confirmed
                    )
                    self._unverified.add(request.request_id, waits)
        return found

    def _choose(
        self,
        requests: Sequence[Decoding],
        found: Sequence[Mapping[str, Found]],
        drafting: Drafting,
        looked: bool,
    ) -> Decision:
        """Return the choice among what was found and what drafters may be asked for."""
        names = [request.request_id for request in requests]
        offers: list[Offers] = [
            {
                method: Offer(
                    min(draft.depth, request.budget),
                    self._kind_found(request, method, draft.depth),
                    min(draft.size, request.budget),
                )
                for method, draft in drafts.items()
            }
            for request, drafts in zip(requests, found, strict=True)
        ]
        asked: list[Offers] = [
            {
                method: Offer(
                    min(request.budget, self._longest[method]),
                    temperature_level(request.temperature),
                )
                for method in self.chooser.drafters
            }
            for request in requests
        ]
        everyone = range(len(requests))
        behind = {
            method: self.chooser.costs.catch_up(
                method, drafting.num_deferred(method, everyone), self._context
            )
            for method in self.chooser.drafters
        }
        return self.chooser.decide(names, offers, asked, self._context, behind, looked)

    def _ask(
        self,
        method: str,
        places: Sequence[int],
        decision: Decision,
        requests: Sequence[Decoding],
        drafting: Drafting,
    ) -> Sequence[int]:
        """Have a drafter draft for some requests, timed; return how far it did."""
        lengths = [decision.lengths[i] for i in places]
        behind = drafting.num_deferred(method, places)
        start = self._clock()
        drafting.catch_up(method, places)
        caught_up = self._clock()
        sizes = drafting.draft(method, places, lengths)
        costs = self.chooser.costs
        if behind:
            costs.learn_catch_up(method, behind, self._context, caught_up - start)
        elif self._decoded:  # a step that read a prompt took a drafter longer to read
            seconds = self._clock() - start
            if self.chooser.defers:  # then only those who are asked read every step
                seconds += self._reading
            costs.learn_draft(method, len(places), max(lengths), self._context, seconds)
        self._in_favour.add(method)
        for i, length, size in zip(places, lengths, sizes, strict=True):
            request = requests[i]
            self._awaited[request.request_id] = _Awaited(
                method,
                temperature_level(request.temperature),
                length if size < length else 0,
                request,
            )
        return sizes

    def _kind_found(self, request: Decoding, method: str, depth: int) -> Hashable:
        """Return what is known of a lookup's draft: how the request is sampled, how far it goes,
        and whether the method was right when it last found something."""
        right = self._unverified.right(request.request_id, method)
        return temperature_level(request.temperature), depth.bit_length(), right

    def _settle(self, request: Decoding) -> None:
        """Let the text judge what lookups found, and learn the verdict on a drafter's draft."""
        self._unverified.judge(request.request_id, request.num_tokens)
        awaited = self._awaited.pop(request.request_id, None)
        if awaited is None or request.num_steps == awaited.before.num_steps:
            return
        before = awaited.before
        verified = request.num_draft_tokens - before.num_draft_tokens
        drafted = max(verified, awaited.gave_up)
        stood = request.num_accepted_tokens - before.num_accepted_tokens
        if drafted:
            self._learn(awaited.method, request.request_id, awaited.kind, drafted, stood)

    def _learn(
        self, method: str, request_id: str, kind: Hashable, drafted: int, stood: int
    ) -> None:
        """Learn from the verdict on a draft; arguments as of `Beliefs.record`."""
        self.beliefs[method].record(request_id, kind, drafted, stood)
