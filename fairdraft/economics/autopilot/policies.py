"""Policies to replay traffic under: fixed draft lengths, the autopilot, and an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fairdraft.economics.autopilot.allocate import Allocate, Pace, allocate
from fairdraft.economics.autopilot.best_lengths import BestLengths
from fairdraft.economics.autopilot.decision import Decoding
from fairdraft.economics.autopilot.pilot import Autopilot
from fairdraft.economics.autopilot.traced_drafts import ReplayClock, Stream, TracedDrafts
from fairdraft.economics.costs.live_costs import LiveCosts


class Policy(Protocol):
    """Says how long each stream's draft is.

    Attributes:
        clock: of the replay, for as long as the policy is replayed.
    """

    clock: ReplayClock

    def lengths(self, drafts: TracedDrafts) -> list[int]:
        """Have the streams' drafts made; return how long each is."""

    def ran(self, names: Sequence[str], seconds: float) -> None:
        """Learn what a step took in which these texts ran, drafting left out."""

    def defers(self) -> bool:
        """Tell whether the method puts off reading the step's rows until it is asked."""

    def read(self, seconds: float) -> None:
        """Learn what it took to read them, or to put that off."""

    def end(self, stream: Stream) -> None:
        """Note that a stream ended, or the replay did."""


class Unlearning:
    """Base of policies that learn nothing, and whose drafter reads every step."""

    def __init__(self) -> None:
        self.clock = ReplayClock()

    def ran(self, names: Sequence[str], seconds: float) -> None:
        """Learn nothing."""

    def defers(self) -> bool:
        """Tell that every step is read."""
        return False

    def read(self, seconds: float) -> None:
        """Learn nothing."""

    def end(self, stream: Stream) -> None:
        """Keep nothing."""


class Static(Unlearning):
    """Draft lengths of k tokens always; 0 is off."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def lengths(self, drafts: TracedDrafts) -> list[int]:
        """Have k tokens drafted, or what there is."""
        count = len(drafts.streams)
        return drafts.draft("", range(count), [self.k] * count) if self.k else [0] * count


class Oracle(Unlearning):
    """Draft lengths that are best step by step, knowing what will stand.

    Args:
        costs: of steps and drafts.
        drafter: the method; None of a lookup.
        k: longest draft.
    """

    def __init__(self, costs: LiveCosts, drafter: str | None, k: int) -> None:
        super().__init__()
        self.costs, self.drafter, self.k = costs, drafter, k
        self._pace = Pace()

    def lengths(self, drafts: TracedDrafts) -> list[int]:
        """Have tokens drafted that stand, as far as they pay."""
        streams = drafts.streams
        count = len(streams)
        stands = np.array([np.arange(self.k) < min(s.stood, self.k) for s in streams], np.float64)
        plain = self.costs.steps(count, drafts.context)
        rate = self._pace.speedup * count / float(plain[0])
        none = np.zeros_like(stands)
        if self.drafter is None:
            free = np.zeros((count + 1, self.k + 1))
            tokens, seconds, lengths, _ = allocate(stands, none, plain, free, 0.0, 0, rate)
        else:
            costs = self.costs.drafts(self.drafter, count, drafts.context)
            tokens, seconds, lengths, _ = allocate(none, stands, plain, costs, 0.0, self.k, rate)
        self._pace.add(tokens / count, seconds / float(plain[0]))
        chosen: list[int] = lengths.tolist()
        if places := [i for i, length in enumerate(chosen) if length]:
            drafts.draft("", places, [chosen[i] for i in places])
        return chosen


class Auto:
    """Draft lengths as the autopilot decides them: the one that drives the engine.

    Args:
        costs: of steps and drafts.
        method: whose drafts were traced.
        lookup: whether they may be looked at.
        k: longest draft.
        choose: the plain `allocate`, or its compiled form.
    """

    def __init__(
        self,
        costs: LiveCosts,
        method: str,
        lookup: bool,
        k: int,
        choose: Allocate = allocate,
    ) -> None:
        lookups, drafters = ([method], []) if lookup else ([], [method])
        chooser = BestLengths(costs, lookups, drafters, k, choose)
        self.clock = ReplayClock()
        self.method = method
        self.autopilot = Autopilot(chooser, dict.fromkeys(drafters, k), self.clock)

    def lengths(self, drafts: TracedDrafts) -> list[int]:
        """Have drafted what it decides, for streams that have use for a draft."""
        streams = drafts.streams
        if self.autopilot.rests([stream.text.name for stream in streams]):
            return [0] * len(streams)
        wanted = [stream for stream in streams if stream.room]
        if not wanted:
            return [0] * len(streams)
        drafts.begin(wanted)
        decision = self.autopilot.decide([_decoding(stream) for stream in wanted], drafts)
        lengths = {
            stream.text.name: min(length, stream.found)
            for stream, length in zip(wanted, decision.lengths, strict=True)
        }
        return [lengths.get(stream.text.name, 0) for stream in streams]

    def ran(self, names: Sequence[str], seconds: float) -> None:
        """Learn what a step took."""
        self.autopilot.ran(names, seconds)

    def defers(self) -> bool:
        """Tell whether the method puts off reading."""
        return self.autopilot.defers(self.method)

    def read(self, seconds: float) -> None:
        """Learn what reading took."""
        self.autopilot.read(seconds)

    def end(self, stream: Stream) -> None:
        """Learn what is left to learn, and forget the text."""
        self.autopilot.finish(_decoding(stream))


def _decoding(stream: Stream) -> Decoding:
    """Return a stream as the autopilot sees it."""
    return Decoding(
        stream.text.name,
        stream.num_tokens,
        stream.room,
        stream.text.temperature,
        stream.num_steps,
        stream.num_draft_tokens,
        stream.num_accepted_tokens,
    )
