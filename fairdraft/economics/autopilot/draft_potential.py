"""Texts as a drafter saw them: what a trace says of drafts from every place, and of shorter ones.

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

import numpy as np
from numpy.typing import NDArray

from fairdraft.errors import ReadingError

IntArray = NDArray[np.int64]
Round = tuple[int, int]  # drafted, accepted


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
