"""Windows: stretches of a log, one after the other, and the whole that they make together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from fairdraft.peers.base import Reading


def join(windows: Sequence[Reading], source: str, notes: tuple[str, ...] = ()) -> Reading:
    """Return the reading of consecutive windows: counts added, gauges and rates by their seconds.

    What one window does not say, the whole does not say. Its step time, where it is worked out, is
    the seconds that requests ran over the steps that they made, summed over windows: a few windows
    full of prompts weigh what they lasted. Where it was measured, windows weigh by their steps.

    Args:
        windows: at least one; all say how long they were, or none does.
        source: what was read, for people.
        notes: what biases all of them.
    """
    seconds = total(windows, lambda each: each.seconds)
    generated = total(windows, lambda each: each.generated)
    return Reading(
        source,
        sum(each.rounds for each in windows),
        sum(each.drafted for each in windows),
        sum(each.accepted for each in windows),
        added([each.accepted_per_position for each in windows]),
        generated / seconds
        if generated is not None and seconds
        else mean(windows, lambda each: each.tokens_per_second),
        mean(windows, lambda each: each.requests),
        _step_seconds(windows),
        exact_rounds=all(each.exact_rounds for each in windows),
        steps=total(windows, lambda each: each.steps),
        stated_k=max(
            (each.stated_k for each in windows if each.stated_k is not None), default=None
        ),
        notes=notes,
        windows=tuple(windows),
        seconds=seconds,
        generated=generated,
        engines=max(each.engines for each in windows),
        prompt_tokens_per_second=mean(windows, lambda each: each.prompt_tokens_per_second),
        waiting=mean(windows, lambda each: each.waiting),
        kv_usage=mean(windows, lambda each: each.kv_usage),
        preemptions=total(windows, lambda each: each.preemptions),
        max_k=max((each.max_k for each in windows if each.max_k is not None), default=None),
        drafted_is_known=all(each.drafted_is_known for each in windows),
    )


def _step_seconds(windows: Sequence[Reading]) -> float | None:
    """Return the mean of measured step times over steps; over windows where they are not told."""
    times = [each.step_seconds for each in windows]
    told = [time for time in times if time is not None]
    if len(told) < len(times):
        return None
    weights = [each.steps or 0.0 for each in windows]
    if not all(weights):
        weights = [1.0] * len(told)
    return sum(time * weight for time, weight in zip(told, weights, strict=True)) / sum(weights)


def without_drafts(drafting: Sequence[bool], what: str) -> tuple[str, ...]:
    """Return a note where some have a draft and some have none, or lost the line that says so."""
    none = drafting.count(False)
    if not none or none == len(drafting):
        return ()
    return (f"{none} of {len(drafting)} {what} tell of no draft, and count as without one",)


def total(windows: Sequence[Reading], figure: Callable[[Reading], float | None]) -> float | None:
    """Return a figure's sum over windows; None if one does not say it."""
    found = [value for each in windows if (value := figure(each)) is not None]
    return sum(found) if len(found) == len(windows) else None


def mean(windows: Sequence[Reading], figure: Callable[[Reading], float | None]) -> float | None:
    """Return a figure's mean over the seconds of all windows; None if one does not say it."""
    found = [value for each in windows if (value := figure(each)) is not None]
    if len(found) < len(windows):
        return None
    weights = [each.seconds for each in windows]
    if any(not weight for weight in weights):
        return sum(found) / len(found)
    pairs = [(value, weight or 0.0) for value, weight in zip(found, weights, strict=True)]
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


def added(positions: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Return counts by position, added up; a missing position is 0."""
    return tuple(map(sum, zip_longest(*positions, fillvalue=0.0)))
