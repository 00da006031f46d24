"""Drafts as long as they pay, by the method that promises most, or none: leave it on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import eq
from time import perf_counter
from typing import Any

from fairdraft.config import require
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.economics.controller import Controller, Decision, Offer, heat_of
from fairdraft.economics.costs.cost_surface import CostSurface
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.prices import Prices
from fairdraft.economics.shadows import Shadow, Shadows
from fairdraft.models import ModelRunner
from fairdraft.proposers.base import Proposer, Rows
from fairdraft.proposers.calibration import calibrate, guessed_drafter
from fairdraft.proposers.hybrid import build_methods, joint_needs
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry.environment import benchmark_environment

LOOKUP = "suffix"  # the method that fits any target
HEADS = ("eagle3",)  # beside it, if one comes with fairdraft for the target
PLAIN_STEPS = 4  # of so many, one is learned from: they are alike, and learning takes its time


@dataclass
class _Asked:
    """A drafter's draft that waits for its verdict, and the request's counts before it.

    Args:
        method, kind: whose, and of what kind.
        gave_up: the length asked for, where it stopped before; that counts as a failure.
        steps, drafted, accepted: the request's counts.
    """

    method: str
    kind: Hashable
    gave_up: int
    steps: int
    drafted: int
    accepted: int


class AutoProposer(Proposer):
    """Per request and step: who drafts, and how much, 0 included.

    See `economics.controller` for how it decides. Costs come from a profile, or from a second of
    measuring when the model is loaded, and are corrected by every step that runs. What lookups
    found is judged by the text that follows, so that they cost nothing to try; drafters that do
    not pay are tried again now and then.

    Attributes:
        controller: with its records and prices; set by `bind`.
        decisions: how often each (method, length) was taken, a request each.

    Args:
        num_speculative_tokens: longest draft.
        methods: as in `HybridProposer`, chains only; None takes suffix, and the EAGLE-3 head that
            comes with fairdraft for the target, if there is one.
        profile: file that `fairdraft profile` wrote on this machine; None measures at start.

    Raises:
        ConfigError: no methods, one that cannot be part of it, bad keys of one, or a profile that
            cannot be read, or is of another machine or model.
    """

    controller: Controller

    def __init__(
        self,
        num_speculative_tokens: int,
        methods: Sequence[str | Mapping[str, Any]] | None = None,
        profile: str | None = None,
    ) -> None:
        super().__init__(num_speculative_tokens)
        require(
            profile is None or isinstance(profile, str),
            f"profile is {profile!r}, but must be the path of a file that `fairdraft profile` "
            "wrote: leave it out to measure at start",
        )
        self.profile = None if profile is None else Profile.load(profile)
        self._given = methods is not None
        self.proposers = build_methods(
            [LOOKUP] if methods is None else methods, num_speculative_tokens
        )
        for name, proposer in self.proposers.items():
            require(
                not proposer.drafts_trees,
                f"{name!r} drafts trees, but auto chooses lengths of chains: leave its tree keys "
                "out, or use method 'hybrid'",
            )
        self.decisions: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._asked: dict[str, _Asked] = {}
        self._ran: dict[str, int] = {}  # draft tokens of the step under way
        self._decoded = False  # the last step ran drafts and newest tokens only
        self._requests: dict[str, Request] = {}
        self._plain_steps = 0
        self._observing = 0.0  # seconds that drafters took to see the last step
        self._context = 0.0
        self._in_favour: set[str] = set()  # drafters that were asked in the last decision

    def bind(self, target: Any) -> None:
        """Bind every method and learn what steps cost."""
        from fairdraft.heads import shipped_head

        if not self._given:
            name = getattr(target, "name", "")
            found = [head for head in HEADS if shipped_head(name, head) is not None]
            longest = self.num_speculative_tokens
            self.proposers = build_methods([LOOKUP, *found], longest)
        for proposer in self.proposers.values():
            proposer.bind(target)
        self.needs = joint_needs(self.proposers.values())
        k = self.num_speculative_tokens
        lookups = [name for name, each in self.proposers.items() if each.is_lookup]
        drafters = [name for name in self.proposers if name not in lookups]
        step = calibrate(target, k) if self.profile is None else self._profiled(target)
        costs = {name: self._drafter_costs(name, step) for name in drafters}
        self.controller = Controller(Prices(step, costs, k), lookups, drafters, k)
        self._shadows = Shadows(self.controller)

    def _profiled(self, target: Any) -> CostSurface:
        """The profile's steps, if it is of this machine and this model."""
        profile = self.profile
        assert profile is not None
        profile.require_hardware(benchmark_environment())
        name, dtype = getattr(target, "name", ""), ""
        if isinstance(target, ModelRunner):
            dtype = str(target.model.dtype).removeprefix("torch.")
        for what, theirs, ours in (
            ("model", profile.model, name),
            ("dtype", profile.dtype, dtype),
        ):
            require(
                not ours or theirs == ours,
                f"the profile is of {what} {theirs!r}, but {ours!r} runs: profile that, or leave "
                "the key out to measure at start",
            )
        return profile.step

    def _drafter_costs(self, name: str, step: CostSurface) -> CostSurface:
        """A drafter's costs: profiled, or guessed until it drafts."""
        method = name.split("#")[0]
        if self.profile is None or method not in self.profile.drafters:
            return guessed_drafter(step, self.num_speculative_tokens)
        return self.profile.drafter(method)

    def start(self, request: Request) -> None:
        """A request begins, or begins again."""
        self._asked.pop(request.request_id, None)
        self._requests[request.request_id] = request
        for proposer in self.proposers.values():
            proposer.start(request)

    def observe(self, rows: Rows) -> None:
        """Note what the step took; drafters that nobody asks keep what they may need later."""
        self._decoded = bool(self._ran) and self._ran.keys() == set(rows.request_ids)
        drafted = sum(self._ran.values())
        self._plain_steps += not drafted
        if self._decoded and (drafted or self._plain_steps % PLAIN_STEPS == 0):
            self.controller.prices.learn_step(len(self._ran), drafted, self._context, rows.seconds)
        self._ran = {}
        start = perf_counter()
        for name, proposer in self.proposers.items():
            if name in self._in_favour:
                proposer.observe(rows)
            else:
                proposer.defer(rows)
        self._observing = perf_counter() - start

    def finish(self, request_id: str) -> None:
        """Learn what is left to learn, and forget the request."""
        if request := self._requests.pop(request_id, None):
            self._settle(request)
            self._shadows.finish(request_id, request.num_tokens)
        self._asked.pop(request_id, None)
        for proposer in self.proposers.values():
            proposer.finish(request_id)
        self.controller.forget(request_id)

    def rests(self, requests: Sequence[Request]) -> bool:
        """Whether nothing is to be drafted, without a decision."""
        resting = self.controller.rests([request.request_id for request in requests])
        if resting:
            self.decisions["off", 0] += len(requests)
        return resting

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Look up, decide, and let the drafters that were chosen draft."""
        start = perf_counter()
        names = [request.request_id for request in requests]
        drafts = [EMPTY_DRAFT] * len(requests)
        self._in_favour = set()
        for request in requests:
            self._settle(request)
        arguments = list(zip(requests, budgets, slots, strict=True))
        self._context = sum(request.num_tokens for request in requests) / len(requests)
        looked = self.controller.wants_lookup(len(requests), self._context)
        found = self._look_up(arguments, noise) if looked else [{} for _ in requests]
        decision = self._decide(arguments, found, looked)
        for i, (method, length) in enumerate(zip(decision.methods, decision.lengths, strict=True)):
            self.decisions[method or "off", length] += 1
            if method in found[i]:
                drafts[i] = found[i][method].trimmed(length)
        for name in self.controller.drafters:
            places = [i for i, method in enumerate(decision.methods) if method == name]
            if places:
                asked = self._ask(name, places, decision, arguments, noise)
                for i, draft in zip(places, asked, strict=True):
                    drafts[i] = draft
        self._ran = {name: len(draft) for name, draft in zip(names, drafts, strict=True)}
        if not any(decision.lengths):
            self.controller.learn_deciding(perf_counter() - start)
        return drafts

    def _look_up(
        self, arguments: Sequence[tuple[Request, int, Sequence[int]]], noise: DraftNoise
    ) -> list[dict[str, Draft]]:
        """What each lookup finds for each request; the text will judge it."""
        found: list[dict[str, Draft]] = [{} for _ in arguments]
        for name in self.controller.lookups:
            proposer = self.proposers[name]
            start = perf_counter()
            drafts = proposer.propose(
                [request for request, _, _ in arguments],
                [proposer.num_speculative_tokens] * len(arguments),
                [slots for _, _, slots in arguments],
                noise,
            )
            self.controller.prices.learn_draft(
                name, len(arguments), 1, self._context, perf_counter() - start
            )
            for offers, (request, _, _), draft in zip(found, arguments, drafts, strict=True):
                if len(draft):
                    offers[name] = draft
                    kind = self._kind(request, name, len(draft))
                    self._shadows.add(request.request_id, _shadow(name, kind, request, draft))
        return found

    def _decide(
        self,
        arguments: Sequence[tuple[Request, int, Sequence[int]]],
        found: Sequence[Mapping[str, Draft]],
        looked: bool,
    ) -> Decision:
        names = [request.request_id for request, _, _ in arguments]
        offers = [
            {
                name: Offer(min(len(draft), budget), self._kind(request, name, len(draft)))
                for name, draft in drafts.items()
            }
            for (request, budget, _), drafts in zip(arguments, found, strict=True)
        ]
        asked = [
            {
                name: Offer(
                    min(budget, self.proposers[name].num_speculative_tokens),
                    self._kind(request, name, 0),
                )
                for name in self.controller.drafters
            }
            for request, budget, _ in arguments
        ]
        behind = {
            name: self.controller.prices.catch_up(
                name, self.proposers[name].num_deferred(names), self._context
            )
            for name in self.controller.drafters
        }
        return self.controller.decide(names, offers, asked, self._context, behind, looked)

    def _ask(
        self,
        name: str,
        places: Sequence[int],
        decision: Decision,
        arguments: Sequence[tuple[Request, int, Sequence[int]]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """A drafter's drafts for some requests, timed."""
        proposer = self.proposers[name]
        chosen = [arguments[i] for i in places]
        lengths = [decision.lengths[i] for i in places]
        names = [request.request_id for request, _, _ in chosen]
        behind = proposer.num_deferred(names)
        start = perf_counter()
        proposer.catch_up(names)
        caught_up = perf_counter()
        drafts = proposer.propose(
            [request for request, _, _ in chosen],
            lengths,
            [slots for _, _, slots in chosen],
            noise,
        )
        if behind:
            self.controller.prices.learn_catch_up(name, behind, self._context, caught_up - start)
        elif self._decoded:  # a step that read a prompt took a drafter longer to see
            seconds = perf_counter() - start + self._observing
            self.controller.prices.learn_draft(
                name, len(places), max(lengths), self._context, seconds
            )
        self._in_favour.add(name)
        for (request, _, _), length, draft in zip(chosen, lengths, drafts, strict=True):
            counters = request.counters
            self._asked[request.request_id] = _Asked(
                name,
                self._kind(request, name, 0),
                length if len(draft) < length else 0,
                counters.num_steps,
                counters.num_draft_tokens,
                counters.num_accepted_tokens,
            )
        return drafts

    def _kind(self, request: Request, method: str, length: int) -> Hashable:
        """What is known of a draft before its tokens are: how hot the request is sampled, how far
        a lookup found, and whether it was right in the end when it found something last."""
        heat = heat_of(request.params.temperature)
        if method in self.controller.drafters:
            return heat
        return heat, length.bit_length(), self._shadows.right(request.request_id, method)

    def _settle(self, request: Request) -> None:
        """Let the text judge what lookups found, and note the verdict on a drafter's draft."""
        name = request.request_id
        self._shadows.judge(name, request.num_tokens)
        asked = self._asked.pop(name, None)
        if asked is None or request.counters.num_steps == asked.steps:
            return
        drafted = max(request.counters.num_draft_tokens - asked.drafted, asked.gave_up)
        stood = request.counters.num_accepted_tokens - asked.accepted
        if drafted:
            self.controller.record(asked.method, name, asked.kind, drafted, stood)


def _shadow(method: str, kind: Hashable, request: Request, draft: Draft) -> Shadow:
    """Of a draft that begins where a request's text ends."""
    begin, token_ids = request.num_tokens, draft.token_ids

    def stood(place: int) -> int:
        agree = map(eq, token_ids, request.token_ids[begin:place])
        return sum(takewhile(bool, agree))

    return Shadow(method, kind, begin, len(token_ids), stood)
