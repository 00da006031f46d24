"""Values that deciding works on: requests that decode, drafts offered for them, and decisions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fairdraft.economics.autopilot.beliefs import DRAFTER_RATES, Beliefs

Offers = Mapping[str, "Offer"]  # by method, of one request


class Decoding(NamedTuple):
    """A request that decodes, as far as deciding needs to know it.

    Args:
        request_id: unique among live requests.
        num_tokens: of its text so far.
        budget: draft tokens that are of use to it at most.
        temperature: that it is sampled at; 0 is greedy.
        num_steps, num_draft_tokens, num_accepted_tokens: its counters of speculation.
    """

    request_id: str
    num_tokens: int
    budget: int
    temperature: float
    num_steps: int
    num_draft_tokens: int
    num_accepted_tokens: int


@dataclass(frozen=True)
class Offer:
    """A draft that a method could make for a request, or has found.

    Args:
        length: tokens that can stand: found, of a lookup; else the most that are of use.
        kind: what is known of the draft without drawing it; drafts of a kind are alike.
        nodes: draft tokens of a tree that was found; None of a chain, which has `length`.
    """

    length: int
    kind: Hashable = None
    nodes: int | None = None

    @property
    def size(self) -> int:
        """Draft tokens in all."""
        return self.length if self.nodes is None else self.nodes


@dataclass(frozen=True)
class Decision:
    """Who drafts how many tokens for each request.

    Args:
        methods: per request; None where nothing is drafted.
        lengths: per request draft tokens, of a tree its nodes; 0 where nothing is drafted.
    """

    methods: list[str | None]
    lengths: list[int]


class Costs(Protocol):
    """Seconds of steps and drafting, as a chooser learns them."""

    def learn_step(self, requests: int, drafted: int, context: float, seconds: float) -> None:
        """Note what a step took in which only decoding requests ran, drafting left out."""

    def learn_draft(
        self, method: str, requests: int, k: int, context: float, seconds: float
    ) -> None:
        """Note what drafting took, k tokens at most for each of so many requests."""

    def learn_catch_up(self, method: str, rows: int, context: float, seconds: float) -> None:
        """Note what it took a drafter to read so many rows that it had put off."""

    def catch_up(self, method: str, rows: int, context: float) -> float:
        """Return the seconds in which a drafter reads so many rows that it has put off."""


class Chooser(Protocol):
    """Chooses among what methods offer; the autopilot learns for it.

    Attributes:
        lookups: methods whose drafts may be looked at before one is chosen.
        drafters: methods that are asked only once they are chosen.
        beliefs: by method.
        costs: of steps and drafting.
        defers: whether drafters that nobody asks put off reading the text.
    """

    lookups: tuple[str, ...]
    drafters: tuple[str, ...]
    beliefs: dict[str, Beliefs]
    defers: bool

    @property
    def costs(self) -> Costs:
        """Of steps and drafting."""

    def rests(self, request_ids: Sequence[str]) -> bool:
        """Tell whether nothing is drafted for these in this step, without a decision."""

    def wants_lookup(self, requests: int, context: float) -> bool:
        """Tell whether lookups should be made before this decision."""

    def decide(
        self,
        request_ids: Sequence[str],
        found: Sequence[Offers],
        asked: Sequence[Offers],
        context: float,
        behind: Mapping[str, float] | None = None,
        looked: bool = True,
    ) -> Decision:
        """Return the drafts of the next step.

        Args:
            request_ids: that decode.
            found: per request what lookups found.
            asked: per request what drafters could be asked for.
            context: mean tokens of each request.
            behind: by drafter, seconds that it would need to read up on the text.
            looked: whether lookups were made.
        """

    def learn_deciding(self, seconds: float) -> None:
        """Note what it took to find that nothing pays, lookups included."""

    def forget(self, request_id: str) -> None:
        """Forget a request that ended."""


def beliefs_of(lookups: Sequence[str], drafters: Sequence[str], k: int) -> dict[str, Beliefs]:
    """Return beliefs by method before anything was seen, of drafts of k tokens at most."""
    found = {method: Beliefs(k) for method in lookups}
    return found | {method: Beliefs(k, DRAFTER_RATES) for method in drafters}


def temperature_level(temperature: float) -> int:
    """Return which drafts come to the same: 0 is greedy, 4 a temperature of 2 or more."""
    return min(math.ceil(2 * temperature), 4)
