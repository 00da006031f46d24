"""What llama.cpp tells of each request, and of all of them together.

Each request tells the tokens it drafted, those that stood, and the time of its own tokens. Its
first token comes with the prompt; from then on a step writes what stood and one token more, so

    steps = tokens − 1 − accepted,   seconds of a step = time / steps

Draft tokens are what it calls "generated" and `draft_n`, not generated text. Rounds are counted in
its `statistics`; newer logs tell them by request too (`mean acceptance length` = 1 + accepted /
rounds); without either every step counts as a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading
from fairdraft.peers.windows import join, without_drafts

EVERY_STEP = "steps without a draft count as rounds, so k and the acceptance length read low"
ONE_BY_ONE = "speeds are of one request: how many ran side by side is not told"

TOGETHER = (
    "requests ran side by side, and those that had not ended are not told: how many there were, "
    "and what drafting took of a step, is not known"
)
APART = 1.05  # of the time from the first one's start to the last one's end: it was one at a time


@dataclass
class Request:
    """Counts of a request.

    Args:
        milliseconds: that its tokens took, the first left out.
        tokens: it wrote from then on.
        drafted, accepted: draft tokens.
        rounds: None if it is not said.
        stood: by position, where it is said.
        ended: seconds into the log; None if it is not said.
    """

    milliseconds: float
    tokens: float
    drafted: float = 0.0
    accepted: float = 0.0
    rounds: float | None = None
    stood: tuple[float, ...] = ()
    ended: float | None = None

    @property
    def steps(self) -> float:
        """Decoding steps."""
        return self.tokens - self.accepted


@dataclass(frozen=True)
class Statistics:
    """What one way of drafting counted since the program started.

    Args:
        method: its name.
        drafts, drafted, accepted: drafts, and tokens.
        milliseconds: that drafting took; None if it is not said.
        stood: by position, where it is said.
    """

    method: str
    drafts: int
    drafted: int
    accepted: int
    milliseconds: float | None
    stood: tuple[float, ...]


def reading(
    requests: Sequence[Request],
    source: str,
    statistics: Sequence[Statistics] = (),
    notes: tuple[str, ...] = (),
    max_k: float | None = None,
) -> list[Reading]:
    """Return requests as one reading, each of them a window.

    Args:
        requests: at least one.
        source: for people.
        statistics: of each way of drafting, at the end.
        notes: what biases it.
        max_k: the longest draft that was allowed, if it is told.

    Raises:
        ReadingError: there is nothing to time.
    """
    tokens, accepted = sum(each.tokens for each in requests), sum(x.accepted for x in requests)
    steps, drafted = tokens - accepted, sum(each.drafted for each in requests)
    if steps <= 0 or not all(each.milliseconds for each in requests):
        raise ReadingError(
            f"{source!r} generates {tokens:.0f} tokens with {accepted:.0f} accepted drafts: too "
            "few to time a step; take answers of 100 tokens and more"
        )
    told = all(each.rounds is not None or not each.drafted for each in requests)
    counted = sum(each.drafted for each in statistics)
    together = _side_by_side(requests)
    if together:
        notes = (*notes, TOGETHER)
    elif together is None and len(requests) > 1:
        notes = (*notes, ONE_BY_ONE)
    notes += without_drafts([each.drafted > 0 for each in requests], "requests")
    if drafted and not (told or counted):
        notes = (*notes, EVERY_STEP)
    windows = [_window(each, source, told) for each in requests if each.steps > 0]
    found = replace(
        join(windows, source, notes),
        requests=None if together else 1,
        step_seconds=sum(each.milliseconds for each in requests) / 1e3 / steps,
        max_k=max_k,
        method=", ".join(each.method for each in statistics if each.drafted),
    )
    if len(windows) == 1:
        found = replace(found, windows=())
    if counted:
        # They may count requests from before the log began: their share of drafts is taken then.
        scale = drafted / counted
        rounds = min(sum(each.drafts for each in statistics) * scale, drafted)
        stood = tuple(scale * each for each in statistics[0].stood) if len(statistics) == 1 else ()
        found = replace(
            found,
            rounds=rounds,
            accepted_per_position=stood or (found.accepted_per_position if told else ()),
            exact_rounds=scale == 1,
            steps=max(steps, rounds),
            windows=found.windows if told else (),
        )
        times = [each.milliseconds for each in statistics if each.milliseconds is not None]
        if times and not together:  # a step of several waits for the drafts of all of them
            found = replace(found, draft_seconds=scale * sum(times) / 1e3 / steps)
    return [found]


def _side_by_side(requests: Sequence[Request]) -> bool | None:
    """Return whether some requests ran at once; None if the log does not say when they ended."""
    ends = [each.ended for each in requests if each.ended is not None]
    if len(ends) < len(requests) or len(requests) < 2:
        return None
    spent = [each.milliseconds / 1e3 for each in requests]
    whole = max(ends) - min(end - took for end, took in zip(ends, spent, strict=True))
    return sum(spent) > APART * whole


def _window(request: Request, source: str, told: bool) -> Reading:
    rounds = request.rounds if told else min(request.steps, request.drafted)
    rounds = min(rounds or 0.0, request.drafted)
    seconds = request.milliseconds / 1e3
    return Reading(
        source,
        rounds,
        request.drafted,
        request.accepted,
        request.stood if told else (),
        tokens_per_second=request.tokens / seconds,
        requests=1,
        step_seconds=seconds / request.steps,
        exact_rounds=not request.drafted,
        steps=max(request.steps, rounds),
        seconds=seconds,
        generated=request.tokens,
    )
