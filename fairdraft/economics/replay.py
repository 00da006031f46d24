"""The same traffic again under any policy, at any prices: compared in seconds, free of noise.

A trace of a run with long drafts says, for every place of every text, how many tokens a draft from
there would have had and how many would have stood. A shorter draft begins some rounds inside of
what a longer one got right; there it is taken to find, and get right, what was left of it. A draft
that stood whole is taken to have foreseen the bonus token too, if the next round's first token
stood: the phrase went on. A drafter is taken to draft its full length from everywhere, and to be
wrong again where the longer draft was, which makes short drafts look a little worse than they are.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.controller import Controller, Offer, heat_of
from fairdraft.economics.filling import fill
from fairdraft.economics.prices import Prices, reading
from fairdraft.economics.profile import Profile
from fairdraft.errors import ConfigError, ReadingError

IntArray = NDArray[np.int64]
Round = tuple[int, int]  # drafted, accepted

UNREAD_ROWS = 64  # that a drafter keeps of a text while nobody asks for its drafts


@dataclass(frozen=True)
class Text:
    """One request's text as a drafter saw it.

    Args:
        name: unique.
        context: tokens before the first place.
        found: [n] tokens of a draft that begins at each place.
        stood: [n] those that stand.
        kind: of traffic, for reports.
        temperature: that it was sampled at.
    """

    name: str
    context: int
    found: IntArray
    stood: IntArray
    kind: str = ""
    temperature: float = 0.0

    @classmethod
    def of_rounds(
        cls,
        name: str,
        context: int,
        rounds: Sequence[Round],
        kind: str = "",
        lookup: bool = True,
    ) -> Text:
        """From the rounds of a trace, steps without a draft included as (0, 0).

        Args:
            name, context, kind: as above.
            rounds: (drafted, accepted) of each.
            lookup: drafts end where what was found ends; a drafter's have their full length.
        """
        length = sum(accepted + 1 for _, accepted in rounds)
        found, stood = np.zeros(length, np.int64), np.zeros(length, np.int64)
        longest = max((drafted for drafted, _ in rounds), default=0)
        begin = length
        for drafted, accepted in reversed(rounds):
            end = begin  # the next round's begin
            begin = end - accepted - 1
            whole = drafted > 0 and accepted == drafted
            goes_on = whole and end < length and stood[end] > 0
            right = accepted + (1 + stood[end] if goes_on else 0)
            have = longest if goes_on else drafted
            for i in range(accepted + 1):
                stood[begin + i] = min(max(right - i, 0), longest)
                found[begin + i] = have if goes_on else max(have - i, 0)
        found = np.maximum(found, stood) if lookup else np.full(length, longest)
        return cls(name, context, found, stood, kind)

    def __len__(self) -> int:
        return len(self.found)


def read_trace(
    lines: Iterable[str], source: str, kind: str = "", lookup: bool = True
) -> list[Text]:
    """The texts of a step trace.

    Args:
        lines: of the file.
        source: its name, for messages.
        kind: of traffic.
        lookup: as for `Text.of_rounds`.

    Raises:
        ReadingError: it is no trace, or nothing decoded in it.
    """
    rounds: dict[str, list[Round]] = {}
    contexts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            for entry in json.loads(line)["requests"]:
                if "num_accepted" not in entry:
                    continue
                name = str(entry["request_id"])
                drafted = len(entry["draft_token_ids"])
                if "parents" in entry:
                    raise ReadingError(f"{source!r} has trees: trace a method that drafts chains")
                if name not in contexts:
                    contexts[name] = entry["num_computed_tokens"] + entry["num_new_tokens"]
                rounds.setdefault(name, []).append((drafted, int(entry["num_accepted"])))
        except ReadingError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise ReadingError(
                f"line {number} of {source!r} is no step of a trace ({type(error).__name__}: "
                f"{error}): give what LLM(trace=…) or --trace wrote"
            ) from None
    if not rounds:
        raise ReadingError(f"nothing decodes in {source!r}: trace a run that writes something")
    return [
        Text.of_rounds(f"{source} {name}", contexts[name], each, kind, lookup)
        for name, each in rounds.items()
    ]


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

    def lengths(self, streams: Sequence[Stream], context: float) -> list[int]:
        """Tokens that stand, as far as they pay."""
        count = len(streams)
        stands = np.array([np.arange(self.k) < min(s.stood, self.k) for s in streams], np.float64)
        plain = self.prices.steps(count, context)
        none = np.zeros_like(stands)
        free = np.zeros((count + 1, self.k + 1))
        if self.drafter is None:
            lengths = fill(stands, none, plain, free, 0.0, 0)[1]
        else:
            costs = self.prices.drafts(self.drafter, count, context)
            lengths = fill(none, stands, plain, costs, 0.0, self.k)[1]
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
        self._shadows: dict[str, list[tuple[int, int, int, object]]] = {}
        self._right: dict[str, bool] = {}
        self._kinds: dict[str, object] = {}

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
                self._judge(stream)
            length = stream.found if looked else 0
            heat = heat_of(stream.text.temperature)
            right = self._right.get(name, False)
            kind = (heat, length.bit_length(), right) if self.lookup else heat
            self._kinds[name] = kind
            if length and self.lookup:
                shadow = (stream.place, length, min(stream.stood, length), kind)
                self._shadows.setdefault(name, []).append(shadow)
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
            self._judge(stream)
            for begin, _, stood, kind in self._shadows[name]:  # right as far as the text goes
                if seen := min(stood, stream.place - begin):
                    self.controller.record(self.method, name, kind, seen, seen)
        for kept in (self._shadows, self._right, self._kinds, self._unread):
            kept.pop(name, None)
        self.controller.forget(name)

    def took(self, asked: int, k: int, context: float, seconds: float) -> None:
        """Lookups are priced as they run."""
        self.controller.prices.learn_draft(self.method, asked, k, context, seconds)
        if self._idle:
            self.controller.learn_asking(seconds)

    def _judge(self, stream: Stream) -> None:
        name, waiting = stream.text.name, []
        self._right[name] = False
        for begin, found, stood, kind in self._shadows.pop(name, ()):
            seen = min(stood, stream.place - begin)
            left = stream.place - begin - seen
            if left <= (seen == found):
                self._right[name] = True
            if seen < found and not left:
                waiting.append((begin, found, stood, kind))
            else:
                self.controller.record(self.method, name, kind, found, seen)
        self._shadows[name] = waiting


@dataclass
class Replayed:
    """What a policy made of the traffic.

    Attributes:
        seconds, tokens, steps: in all.
        drafting: per step, whether anything was drafted.
        kinds: per step, the traffic's kind, of most streams.
        step_seconds, step_tokens: per step.
        reading: per step, whether a text began in it.
    """

    seconds: float = 0.0
    tokens: int = 0
    steps: int = 0
    drafting: list[bool] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    step_tokens: list[int] = field(default_factory=list)
    reading: list[bool] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    @property
    def decoding_rate(self) -> float:
        """Tokens a second of the steps that read no prompt."""
        counts = ~np.array(self.reading)
        return float(
            np.sum(self.step_tokens, where=counts) / np.sum(self.step_seconds, where=counts)
        )

    @property
    def switches(self) -> int:
        """How often drafting began or ended."""
        return int(np.count_nonzero(np.diff(np.array(self.drafting, np.int8))))


def replay(
    texts: Sequence[Text],
    policy: Policy,
    profile: Profile,
    method: str,
    concurrency: int,
    extrapolate: bool = False,
) -> Replayed:
    """Write the texts again, so many at once, each finished one replaced by the next.

    It ends when fewer are left than run at once: what a server is worth shows under load. Prompts
    are priced if the profile has prefill in it; a step that reads one runs the other texts too.

    Args:
        texts: in the order they come, at least `concurrency`.
        policy: how long the drafts are.
        profile: what steps and drafts cost.
        method: whose drafts they are.
        concurrency: texts at once.
        extrapolate: price what was not measured too.

    Raises:
        ConfigError: fewer texts, or something was not measured and `extrapolate` is False.
    """
    if len(texts) < concurrency:
        raise ConfigError(
            f"the trace has {len(texts)} texts, fewer than {concurrency} at once: lower it"
        )
    waiting, running = deque(texts), list[Stream]()
    drafter = profile.drafter(method)
    done = Replayed()
    while len(waiting) + len(running) >= concurrency:
        while waiting and len(running) < concurrency:
            running.append(Stream(waiting.popleft()))
        fresh = [stream for stream in running if not stream.place]
        decoding = [stream for stream in running if stream.place]
        seconds = _prefill(profile, sum(stream.text.context for stream in fresh))
        lengths: list[int] = []
        if decoding:
            count = len(decoding)
            context = sum(s.text.context + s.place for s in decoding) / count
            lengths = policy.lengths(decoding, context)
            rows = 1 + sum(lengths) / count
            seconds += profile.step.seconds(count, rows, context, extrapolate)
            if fresh and profile.prefill:
                seconds -= profile.step.seconds(1, 1, context, True)  # the weights are read once
            if asked := policy.num_asked:
                longest = max(*lengths, drafter.rows[0])
                drafting = drafter.seconds(asked, longest, context, extrapolate)
                policy.took(asked, longest, context, drafting)
                seconds += drafting
                if policy.num_late:
                    seconds += reading(drafter, policy.num_late, context)
        gained = len(fresh)
        for stream in fresh:
            stream.place = 1
        for stream, length in zip(decoding, lengths, strict=True):
            accepted = min(length, stream.stood)
            stream.place += accepted + 1
            gained += accepted + 1
            policy.after(stream, length, accepted)
        kinds = [stream.text.kind for stream in running]
        done.seconds += seconds
        done.tokens += gained
        done.steps += 1
        done.drafting.append(any(lengths))
        done.kinds.append(max(kinds, key=kinds.count))
        done.step_seconds.append(seconds)
        done.step_tokens.append(gained)
        done.reading.append(bool(fresh))
        for stream in running:
            if stream.place >= len(stream.text):
                policy.end(stream)
        running = [stream for stream in running if stream.place < len(stream.text)]
    for stream in running:
        policy.end(stream)
    return done


def _prefill(profile: Profile, rows: int) -> float:
    """Seconds to read so many prompt tokens; 0 if the profile does not say."""
    surface = profile.prefill
    if not rows or surface is None:
        return 0.0
    whole, rest = divmod(rows, surface.rows[-1])
    seconds = whole * surface.seconds(1, surface.rows[-1], 0)
    return seconds + (surface.seconds(1, rest, 0, True) if rest else 0.0)
