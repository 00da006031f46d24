"""vLLM's line of drafts in a window (V1), checked against itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairdraft.peers.base import DECIMAL

DRAFTS = "SpecDecoding metrics:"
_LENGTH = re.compile(rf"Mean acceptance length: ({DECIMAL}),")
_SPEED = re.compile(rf"Drafted throughput: ({DECIMAL}) tokens/s,")
_COUNTS = re.compile(r" Accepted: (\d+) tokens, Drafted: (\d+) tokens, ")
# Three places each, and then the end or another figure: what is cut off is no rate.
_RATES = re.compile(r"Per-position acceptance rate: (\d\.\d{3}(?:, \d\.\d{3})*)(?:, Avg |\s*$)")
_NONE = re.compile(r" Accepted: 0 tokens, Drafted: 0 tokens(?:, |\s*$)")  # rates are nan then
_SHARE = re.compile(rf"(?:Avg )?Draft acceptance rate: ({DECIMAL})%")
_PLACES = 0.0006  # half the last of three places, and a little
_TWO_PLACES = 0.006
_PERCENT = 0.06  # percent are printed to one place


@dataclass(frozen=True)
class Drafts:
    """What an engine drafted in a window.

    Args:
        rounds: drafts.
        drafted, accepted: tokens.
        stood: rounds in which each position stood.
        speed: drafted tokens a second; 0 where the line does not say it.
    """

    rounds: float
    drafted: int
    accepted: int
    stood: tuple[float, ...]
    speed: float


def parse(line: str) -> Drafts | None:
    """Return a line's counts; None if it is cut off or its figures do not fit one another.

    The mean acceptance length is 1 + the sum of the rates; before 0.9 it lacked the bonus token and
    was that sum, which is how such a line is told. Rounds are drafted / k where every draft had k
    tokens; if k varied they are accepted / the sum of the rates.
    """
    if _NONE.search(line):
        return Drafts(0.0, 0, 0, (), 0.0)
    length, counts, rates = _LENGTH.search(line), _COUNTS.search(line), _RATES.search(line)
    share, speed = _SHARE.search(line), _SPEED.search(line)
    if length is None or counts is None or rates is None:
        return None
    accepted, drafted = int(counts[1]), int(counts[2])
    positions = [float(rate) for rate in rates[1].split(", ")]
    total, k = sum(positions), len(positions)
    blur = _PLACES * k
    printed = float(length[1])
    if min(abs(1 + total - printed), abs(total - printed)) > _TWO_PLACES + blur:
        return None
    if accepted > drafted or not drafted:
        return None
    if share is not None and abs(100 * accepted / drafted - float(share[1])) > _PERCENT:
        return None
    rounds = drafted / k
    if abs(accepted / rounds - total) > blur:
        if total <= 0:
            return None
        rounds = min(accepted / total, float(drafted))
    return Drafts(
        rounds,
        drafted,
        accepted,
        tuple(min(rate * rounds, rounds) for rate in positions),
        float(speed[1]) if speed else 0.0,
    )
