"""vLLM's log lines: throughput, and the speculative decoding metrics of each window."""

from __future__ import annotations

import re
from statistics import median

from fairdraft.errors import ReadingError
from fairdraft.peers.base import DECIMAL, Reading

ENGINE = re.compile(
    rf"Avg generation throughput: (?P<rate>{DECIMAL}) tokens/s, Running: (?P<running>\d+) reqs"
)
SPECULATION = re.compile(
    rf"SpecDecoding metrics: .*?Mean acceptance length: (?P<length>{DECIMAL}),"
    rf"(?:.*?Drafted throughput: (?P<speed>{DECIMAL}) tokens/s,)?"
    r" .*?Accepted: (?P<accepted>\d+) tokens, Drafted: (?P<drafted>\d+) tokens, "
    rf"Per-position acceptance rate: (?P<rates>{DECIMAL}(?:, {DECIMAL})*)"
)
SEVERAL = 3
_HALF_DIGIT = 0.006  # mean acceptance lengths are printed to two places


def read_log(text: str, source: str) -> list[Reading] | None:
    """Read a server's log: all windows in which something ran, together.

    A line with no draft tokens is skipped. Rounds are drafted / k where that gives the acceptance
    length that was printed, else accepted / (length − 1), which its two places blur.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: nothing ran while it was written.
    """
    lines = list(ENGINE.finditer(text))
    windows = [(float(line["rate"]), int(line["running"])) for line in lines]
    windows = [(rate, running) for rate, running in windows if rate > 0 and running > 0]
    if not lines:
        return None
    if not windows:
        raise ReadingError(
            f"{source!r} has no window in which anything ran: take the log while it serves"
        )
    rounds, drafted, accepted = 0.0, 0, 0
    stood: list[float] = []
    seconds: list[float] = []  # between two lines
    for line in SPECULATION.finditer(text):
        rates = [float(rate) for rate in line["rates"].split(",")]
        window = _rounds(int(line["drafted"]), int(line["accepted"]), len(rates), line["length"])
        rounds += window
        drafted += int(line["drafted"])
        accepted += int(line["accepted"])
        stood += [0.0] * (len(rates) - len(stood))
        for i, rate in enumerate(rates):
            stood[i] += rate * window
        if float(line["speed"] or 0):
            seconds.append(int(line["drafted"]) / float(line["speed"]))
    # A line after a pause counts the pause, so the shortest of several is what the engine waits.
    several = len(seconds) >= SEVERAL
    generated = sum(rate for rate, _ in windows) * min(seconds) if several else None
    reading = Reading(
        source,
        rounds,
        drafted,
        accepted,
        tuple(stood),
        median(rate for rate, _ in windows),
        median(running for _, running in windows),
        exact_rounds=False,
        steps=None if generated is None else max(generated - accepted, rounds),
    )
    return [reading]


def _rounds(drafted: int, accepted: int, k: int, printed: str) -> float:
    even, length = drafted / k, float(printed)
    if not even or length <= 1 or abs(1 + accepted / even - length) < _HALF_DIGIT:
        return even
    return min(accepted / (length - 1), float(drafted))
