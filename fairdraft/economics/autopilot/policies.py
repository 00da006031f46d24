"""Policies to replay traffic under: fixed lengths, the controller, and one that knows it all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fairdraft.economics.autopilot.allocate import Pace, fill
from fairdraft.economics.autopilot.draft_potential import Text
from fairdraft.economics.autopilot.pilot import Controller, Offer, heat_of
from fairdraft.economics.autopilot.unverified import Shadow, Shadows
from fairdraft.economics.costs.live_costs import UNREAD_ROWS, Prices


@dataclass
class Stream:
    """A text while it is written.

    Attributes:
        text: which.
        place: tokens written.
    """

    text: Text
    place: int = 0

    @property
    def found(self) -> int:
        """Tokens that a draft would have here; the last token needs none."""
        return int(min(self.text.found[self.place], len(self.text) - self.place - 1))

    @property
    def stood(self) -> int:
        """Those that would stand."""
        return int(min(self.text.stood[self.place], len(self.text) - self.place - 1))


class Policy(Protocol):
    """Says how long each stream's draft is.

    Attributes:
        num_asked: streams whose drafts the last decision asked for, those it then left included.
        num_late: rows of their texts that the drafter had yet to read.
    """

    num_asked: int
    num_late: int

    def lengths(self, streams: Sequence[Stream], context: float) -> list[int]:
        """Per stream, at most what it has found."""

    def after(self, stream: Stream, length: int, accepted: int) -> None:
        """A stream went on."""

    def end(self, stream: Stream) -> None:
        """A stream ended, or the replay did."""

    def took(self, asked: int, k: int, context: float, seconds: float) -> None:
        """What drafting took, of so many streams, so many tokens at most."""


class Static:
    """k tokens always; 0 is off."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.num_asked = self.num_late = 0

    def lengths(self, streams: Sequence[Stream], context: float) -> list[int]:
        """k, or what there is."""
        self.num_asked = len(streams) if self.k else 0
        return [min(self.k, stream.found) for stream in streams]

    def after(self, stream: Stream, length: int, accepted: int) -> None:
        """Learns nothing."""

    def end(self, stream: Stream) -> None:
        """Keeps nothing."""

    def took(self, asked: int, k: int, context: float, seconds: float) -> None:
        """Learns nothing."""


class Oracle:
    """The best lengths of each step, knowing what will stand; the drafter has always read all."""

    def __init__(self, prices: Prices, drafter: str | None, k: int) -> None:
        self.prices, self.drafter, self.k = prices, drafter, k
        self.num_asked = self.num_late = 0
        self._pace = Pace()

    def lengths(self, streams: Sequence[Stream], context: float) -> list[int]:
        """Tokens that stand, as far as they pay."""
        count = len(streams)
        stands = np.array([np.arange(self.k) < min(s.stood, self.k) for s in streams], np.float64)
        plain = self.prices.steps(count, context)
        rate = self._pace.speedup * count / float(plain[0])
        none = np.zeros_like(stands)
        if self.drafter is None:
            free = np.zeros((count + 1, self.k + 1))
            tokens, seconds, lengths, _ = fill(stands, none, plain, free, 0.0, 0, rate)
        else:
            costs = self.prices.drafts(self.drafter, count, context)
            tokens, seconds, lengths, _ = fill(none, stands, plain, costs, 0.0, self.k, rate)
        self._pace.add(tokens / count, seconds / float(plain[0]))
        self.num_asked = int((lengths > 0).sum())
        return [int(length) for length in lengths]

    def after(self, stream: Stream, length: int, accepted: int) -> None:
        """Knows it all."""

    def end(self, stream: Stream) -> None:
        """Keeps nothing."""

    def took(self, asked: int, k: int, context: float, seconds: float) -> None:
        """Learns nothing."""


class Auto:
    """The controller, fed as the engine feeds it."""

    def __init__(self, prices: Prices, method: str, lookup: bool, k: int) -> None:
        self.method, self.lookup = method, lookup
        self.controller = Controller(
            prices, [method] if lookup else [], [] if lookup else [method], k
        )
        self.num_asked = self.num_late = 0
        self._idle = False  # nothing came of the last decision
        self._unread: dict[str, int] = {}  # rows of each text that the drafter has not read
        self._shadows = Shadows(self.controller)
        self._kinds: dict[str, Hashable] = {}

    def lengths(self, streams: Sequence[Stream], context: float) -> list[int]:
        """What it decides."""
        names = [stream.text.name for stream in streams]
        self.num_asked, before = 0, self.num_asked
        self.num_late = 0
        if self.controller.rests(names):
            return [0] * len(streams)
        offers: list[Mapping[str, Offer]] = []
        looked = not self.lookup or self.controller.wants_lookup(len(streams), context)
        for stream, name in zip(streams, names, strict=True):
            if self.lookup:
                self._shadows.judge(name, stream.place)
            length = stream.found if looked else 0
            kind: Hashable = heat_of(stream.text.temperature)
            if self.lookup:
                kind = kind, length.bit_length(), self._shadows.right(name, self.method)
            self._kinds[name] = kind
            if length and self.lookup:
                self._shadows.add(name, _shadow(self.method, kind, stream, length))
            offers.append({self.method: Offer(min(length, self.controller.k), kind)})
            late = 0 if before or self.lookup else min(stream.text.context, UNREAD_ROWS)
            self._unread.setdefault(name, late)
        none: list[Mapping[str, Offer]] = [{} for _ in streams]
        found, asked = (offers, none) if self.lookup else (none, offers)
        late = sum(self._unread[name] for name in names)
        behind = {self.method: self.controller.prices.catch_up(self.method, late, context)}
        decision = self.controller.decide(names, found, asked, context, behind, looked)
        drafting = [name for name, n in zip(names, decision.lengths, strict=True) if n]
        self.num_asked = (len(streams) if looked else 0) if self.lookup else len(drafting)
        self.num_late = sum(self._unread[name] for name in drafting)
        self._idle = not drafting
        self._unread |= dict.fromkeys(drafting, 0)
        return decision.lengths

    def after(self, stream: Stream, length: int, accepted: int) -> None:
        """Learn from the verdict; a lookup's draft is judged by the text instead."""
        name = stream.text.name
        if not self.lookup and not self.num_asked:
            self._unread[name] = min(self._unread[name] + accepted + 1, UNREAD_ROWS)
        if not self.lookup and length:
            self.controller.record(self.method, name, self._kinds[name], length, accepted)

    def end(self, stream: Stream) -> None:
        """Learn what is left to learn, and forget the text."""
        name = stream.text.name
        if self.lookup:
            self._shadows.finish(name, stream.place)
        self._kinds.pop(name, None)
        self._unread.pop(name, None)
        self.controller.forget(name)

    def took(self, asked: int, k: int, context: float, seconds: float) -> None:
        """Lookups are priced as they run."""
        self.controller.prices.learn_draft(self.method, asked, k, context, seconds)
        if self._idle:
            self.controller.learn_deciding(seconds)


def _shadow(method: str, kind: Hashable, stream: Stream, length: int) -> Shadow:
    """Of a draft that begins where a stream is."""
    begin, stands = stream.place, min(stream.stood, length)
    return Shadow(method, kind, begin, length, lambda place: min(stands, place - begin))
