"""Draft potential of a text: what a trace says of drafts from every place, and of shorter ones.

A trace of a run with long drafts says, for every place of every text, how many tokens a draft from
there would have had and how many would have stood. A shorter draft begins some rounds inside of
what a longer one got right; there it is taken to find, and get right, what was left of it. A draft
that stood whole is taken to have foreseen the bonus token too, if the next round's first token
stood: the phrase went on. A drafter is taken to draft its full length from everywhere, and to be
wrong again where the longer draft was, which makes short drafts look a little worse than they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairdraft.errors import ReadingError

IntArray = NDArray[np.int64]
Round = tuple[int, int]  # drafted, accepted

LONGEST = 2**31  # tokens that a text can have


@dataclass(frozen=True)
class TracedText:
    """One request's text, with what a draft from each place would have had, and how much stands.

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
    ) -> TracedText:
        """Return the text that rounds of a trace wrote, steps without a draft included as (0, 0).

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
) -> list[TracedText]:
    """Return the texts of a step trace.

    Args:
        lines: of the file.
        source: its name, for messages.
        kind: of traffic.
        lookup: as for `TracedText.of_rounds`.

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
                drafted = len(list(entry["draft_token_ids"]))
                if "parents" in entry:
                    raise ReadingError(f"{source!r} has trees: trace a method that drafts chains")
                if name not in contexts:
                    before = _count(entry, "num_computed_tokens")
                    contexts[name] = before + _count(entry, "num_new_tokens")
                rounds.setdefault(name, []).append(
                    (drafted, _count(entry, "num_accepted", drafted))
                )
        except ReadingError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ReadingError(
                f"line {number} of {source!r} is no step of a trace ({type(error).__name__}: "
                f"{error}): give what LLM(trace=…) or --trace wrote"
            ) from None
    if not rounds:
        raise ReadingError(f"nothing decodes in {source!r}: trace a run that writes something")
    return [
        TracedText.of_rounds(f"{source} {name}", contexts[name], each, kind, lookup)
        for name, each in rounds.items()
    ]


def _count(entry: dict[str, Any], name: str, most: int = LONGEST) -> int:
    """Return a number of tokens that a trace's entry holds.

    Raises:
        ValueError: it is none from 0 to `most`.
    """
    found = entry[name]
    if type(found) is not int or not 0 <= found <= most:
        raise ValueError(f"{name} is {found!r}, but must be a number from 0 to {most}")
    return found
