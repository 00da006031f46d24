"""How many tokens SGLang drafts a round, from the mean acceptance length and rate that it prints.

The rate had two meanings. Until May 2026 it was length / draft tokens, the bonus token counted in
both; since then it is (length − 1) / draft tokens. One of them gives the same whole number in every
line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

_PLACES = 0.0051  # half the last of two places
MOST = 256  # tokens of a draft

WITH_BONUS = (
    "k is length / rate − 1, the whole number that fits every line (the rate counts the bonus "
    "token, as before May 2026); of a tree these are its nodes, not its depth"
)
WITHOUT_BONUS = (
    "k is (length − 1) / rate, the whole number that fits every line; of a tree these are its "
    "nodes, not its depth"
)
BIASED = (
    "k is (length − 1) / rate on the mean of the lines, for no one whole number fits them: it is "
    "too low if the rate counts the bonus token (before May 2026), and k may have varied"
)
NO_RATE = "acceptance rates are not in the log"
NOTHING = "nothing was accepted, and a rate of 0 fits every k"


@dataclass(frozen=True)
class DraftTokens:
    """Draft tokens of a round.

    Args:
        tokens: of a round; if they are not known, the fewest that there can be.
        is_known: whether they are.
        note: how they were told.
    """

    tokens: float
    is_known: bool
    note: str


def draft_tokens(pairs: Sequence[tuple[float, float | None]]) -> DraftTokens:
    """Return the draft tokens of a round from mean acceptance lengths and rates.

    Args:
        pairs: length, bonus token included, and rate, each to two places; a rate may be missing.
    """
    longest = max((length - 1 for length, _ in pairs), default=0.0)
    known = [(length, rate) for length, rate in pairs if rate is not None]
    printed = set(known)  # a long log says the same again and again
    least = max(ceil(longest - _PLACES), 1)
    if not known:
        return DraftTokens(float(least), False, NO_RATE)
    without = [
        k for k in range(least, MOST) if all(_near(each - 1, k, rate) for each, rate in printed)
    ]
    with_it = [
        k for k in range(least, MOST) if all(_near(each, k + 1, rate) for each, rate in printed)
    ]
    for fits, others, note in (
        (without, with_it, WITHOUT_BONUS),
        (with_it, without, WITH_BONUS),
    ):
        if len(fits) == 1 and not others:
            return DraftTokens(float(fits[0]), True, note)
    gained = sum(length - 1 for length, _ in known)
    rates = sum(rate for _, rate in known)
    if not rates:
        return DraftTokens(float(least), False, NOTHING)
    return DraftTokens(max(gained / rates, least), True, BIASED)


def _near(gained: float, tokens: int, rate: float) -> bool:
    return abs(gained / tokens - rate) <= _PLACES + _PLACES / tokens
