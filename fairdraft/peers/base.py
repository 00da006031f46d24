"""Readings: counts and speeds that an engine told of itself, and the fields they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairdraft.errors import ReadingError

Record = Mapping[str, Any]

DECIMAL = r"\d+(?:\.\d+)?"  # as it stands in a log
MOST = 1e15  # no count and no time is larger
UNKNOWN_K = (
    "k is not in the file: the acceptance rate and the most that k can reach are not known, and k "
    "is the least that it can be"
)
UNKNOWN_DRAFTS = (
    "the file says nothing of drafts: it is taken for a run without speculation, be sure that it is"
)
_ROUNDING = 1.01  # shares printed to three places multiply back to a little more than was counted
_FIXED = 0.99  # of the drafts that a fixed k would make; the ends of texts trim a few


@dataclass(frozen=True)
class Reading:
    """Counts and speeds over a stretch of serving.

    Args:
        source: what was read, for people.
        rounds: verification runs that had a draft; 0 without speculation.
        drafted: draft tokens; of trees, their nodes.
        accepted: those that stood.
        accepted_per_position: [k] rounds in which each position stood.
        tokens_per_second: generated, all requests together; None if it is not said.
        requests: mean number running; None if it is not said.
        step_seconds: of one engine step, where it was measured.
        exact_rounds: whether rounds were counted, or worked out.
        drafted_per_position: [k] rounds that drafted so far; empty if only all rounds are known.
        steps: decoding steps, each counted once for every request in it, those without a draft
            included; None if it is not said.
        stated_k: longest path of a draft, where the source says it or drafts are trees.
        max_k: the longest draft that was allowed, where the source says it.
        drafted_is_known: whether the source says what was drafted. If not, `drafted` is the least
            that it can have been: k and what hangs on it (acceptance rate, the most that k can
            reach) cannot be told, and a reading that drafted nothing may have speculated.
        label: which of a file's measurements it is; empty if there is one.
        notes: what biases it, each a phrase.
        method: who drafted, where the source says it; empty if it does not.
        windows: the stretches, one after the other, that the source tells of one by one: each a
            reading of its own whose counts add up to these; empty where it tells one total.
        seconds: how long the stretch was; None if it is not said.
        generated: tokens in it, all requests together; None if it is not said.
        engines: how many engines share the requests, each with steps of its own.
        prompt_tokens_per_second: prefilled, all requests together; None if it is not said.
        prompt_tokens: prefilled; None if it is not said.
        waiting: mean number of requests that wait to be admitted; None if it is not said.
        kv_usage: mean share of the KV blocks in use, from 0 to 1; None if it is not said.
        preemptions: requests that lost their blocks and began anew; None if it is not said.
        draft_seconds: drafting, of one engine step: a part of the step time, mean over steps with
            and without a draft; None if it is not said.
        inter_token_seconds: inter-token latency, from a request's first token on: seconds / tokens.
        inter_chunk_seconds: inter-chunk latency, between two outputs that reach the client, each
            the tokens of one step: seconds / chunks.

    Raises:
        ReadingError: the counts cannot be.
    """

    source: str
    rounds: float = 0
    drafted: float = 0
    accepted: float = 0
    accepted_per_position: tuple[float, ...] = ()
    tokens_per_second: float | None = None
    requests: float | None = None
    step_seconds: float | None = None
    exact_rounds: bool = True
    drafted_per_position: tuple[float, ...] = ()
    steps: float | None = None
    stated_k: float | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    method: str = ""
    windows: tuple[Reading, ...] = ()
    seconds: float | None = None
    generated: float | None = None
    engines: int = 1
    prompt_tokens_per_second: float | None = None
    prompt_tokens: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    preemptions: float | None = None
    draft_seconds: float | None = None
    inter_token_seconds: float | None = None
    inter_chunk_seconds: float | None = None
    max_k: float | None = None
    drafted_is_known: bool = True

    def __post_init__(self) -> None:
        figures = [x for x in vars(self).values() if type(x) in (int, float)]
        for value in (*figures, *self.accepted_per_position, *self.drafted_per_position):
            if not 0 <= value <= MOST:
                self._refuse(f"holds the figure {value}, but counts and times are not below 0")
        if self.kv_usage is not None and self.kv_usage > _ROUNDING:
            self._refuse(f"uses {self.kv_usage:.0%} of the KV blocks")
        if self.accepted > self.drafted:
            self._refuse(
                f"says that {self.accepted:.0f} of {self.drafted:.0f} draft tokens were accepted"
            )
        if self.rounds > self.drafted * _ROUNDING:
            self._refuse(f"has {self.rounds:.0f} rounds for {self.drafted:.0f} draft tokens")
        if any(stood > self.rounds * _ROUNDING for stood in self.accepted_per_position):
            self._refuse(f"accepts a position more often than in all {self.rounds:.0f} rounds")

    def _refuse(self, why: str) -> None:
        raise ReadingError(
            f"{self.source!r} {why}: counts of two runs got mixed, or the file was edited; take "
            "it again from one run"
        )

    @property
    def speculates(self) -> bool:
        """Whether anything was drafted."""
        return self.drafted > 0

    @property
    def k(self) -> float:
        """Draft length: the one that is stated, or the mean."""
        if self.stated_k is not None:
            return self.stated_k
        return self.drafted / self.rounds if self.rounds else 0.0

    @property
    def acceptance_rate(self) -> float:
        """Accepted / drafted, as engines print it."""
        return self.accepted / self.drafted if self.drafted else 0.0

    @property
    def acceptance_length(self) -> float:
        """Mean acceptance length, the bonus token included; 1 without speculation."""
        return 1 + self.accepted / self.rounds if self.rounds else 1.0

    @property
    def draft_share(self) -> float:
        """Share of decoding steps that had a draft; 1 if it is not said."""
        return self.rounds / max(self.steps or 0, self.rounds) if self.rounds else 0.0

    @property
    def tokens_per_step(self) -> float:
        """1 + accepted / decoding steps, steps without a draft included."""
        return 1 + (self.acceptance_length - 1) * self.draft_share

    @property
    def prompt_share(self) -> float | None:
        """Share of prompt tokens in all that were computed; None if it is not said."""
        if self.prompt_tokens_per_second is None or self.tokens_per_second is None:
            return None
        both = self.prompt_tokens_per_second + self.tokens_per_second
        return self.prompt_tokens_per_second / both if both else None

    @property
    def survivals(self) -> tuple[float, ...]:
        """S_1, S_2, …: out of the rounds that drafted so far if they are known, else of all."""
        all_rounds = (self.rounds,) * len(self.accepted_per_position)
        pairs = zip(self.accepted_per_position, self.drafted_per_position or all_rounds)  # noqa: B905
        return tuple(min(stood / tried, 1.0) for stood, tried in pairs if tried)

    @property
    def biases(self) -> tuple[str, ...]:
        """What biases the figures, each a phrase."""
        found = list(self.notes)
        longest = len(self.accepted_per_position)
        if not self.drafted_per_position and self.drafted < _FIXED * self.rounds * longest:
            found.append(
                f"k varied (mean {self.drafted / self.rounds:.1f} of {longest}): positions that "
                "were not drafted count as rejected"
            )
        if self.speculates and not self.exact_rounds:
            found.append("rounds are worked out, not counted")
        if not self.drafted_is_known:
            found.append(UNKNOWN_K if self.speculates else UNKNOWN_DRAFTS)
        return tuple(found)

    @property
    def step_is_measured(self) -> bool:
        """Whether `step_time` was measured, and not worked out from throughput."""
        return self.step_seconds is not None

    @property
    def step_time(self) -> float | None:
        """Seconds of a step: measured, or requests · tokens per step / throughput.

        The latter mixes prefill and idle time into it.
        """
        if self.step_seconds is not None:
            return self.step_seconds
        if not self.tokens_per_second or self.requests is None:
            return None
        return self.requests * self.tokens_per_step / self.tokens_per_second


def parse_json(text: str) -> Any:
    """Return a JSON document.

    Raises:
        ValueError: it is broken, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def optional(record: Record, name: str, source: str, most: float = MOST) -> float | None:
    """Return a number that may be absent or null.

    Raises:
        ReadingError: it is there, but is no number from 0 to `most`.
    """
    value = record.get(name)
    if value is None:
        return None
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not (known and 0 <= value <= most):
        raise ReadingError(
            f"{source!r}: {name} is {value!r:.40}, but must be a number from 0 to {most:g}: "
            "give the file as the engine wrote it"
        )
    return float(value)


def number(record: Record, name: str, source: str, most: float = MOST) -> float:
    """Return a number that must be there.

    Raises:
        ReadingError: it is absent, or no number from 0 to `most`.
    """
    value = optional(record, name, source, most)
    if value is None:
        raise ReadingError(f"{source!r} lacks {name!r}: give the file as the engine wrote it")
    return value


def numbers(record: Record, name: str, source: str) -> tuple[float, ...]:
    """Return a list of numbers; empty if it is absent.

    Raises:
        ReadingError: it is no list, or holds something that is no number from 0 to `MOST`.
    """
    values = record.get(name) or ()
    if not isinstance(values, list | tuple):
        raise ReadingError(f"{source!r}: {name} is {values!r}, but must be a list of numbers")
    return tuple(number({name: value}, name, source) for value in values)


def part(record: Record, name: str, source: str) -> Record:
    """Return an object inside a record.

    Raises:
        ReadingError: it is absent, or no object.
    """
    value = record.get(name)
    if not isinstance(value, Mapping):
        raise ReadingError(
            f"{source!r}: {name} is {value!r}, but must be a JSON object: give the file as the "
            "engine wrote it"
        )
    return value


def parts(record: Record, name: str, source: str) -> list[Record]:
    """Return a list of objects inside a record.

    Raises:
        ReadingError: it is absent, or not that.
    """
    values = record.get(name)
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise ReadingError(
            f"{source!r}: {name} must be a list of JSON objects: give the file as it was written"
        )
    return values
