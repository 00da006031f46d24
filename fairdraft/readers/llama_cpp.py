"""llama.cpp: a server's log, and the `timings` of its responses.

Each request tells the tokens it drafted, those that stood, and the time of its own tokens. Its
first token comes with the prompt; from then on a step writes what stood and one token more, so

    steps = tokens − 1 − accepted,   seconds of a step = time / steps

"generated" and `draft_n` count draft tokens, not generated text. Rounds are told by `mean len`
(1 + accepted / rounds) in newer logs; without it every step counts as a round.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fairdraft.errors import ReadingError
from fairdraft.readers.base import DECIMAL, Reading, Record, number, optional, part

EVAL = re.compile(
    rf"^(?!.*prompt eval time).*\beval time =\s*(?P<ms>{DECIMAL}) ms /"
    r"\s*(?P<tokens>\d+) (?:tokens|runs)",
    re.MULTILINE,
)
DRAFTS = re.compile(
    r"draft acceptance(?: rate)? = [\d.]+ \(\s*(?P<accepted>\d+) accepted /\s*(?P<drafted>\d+) "
    rf"generated\)(?:, mean (?:len|acceptance length) =\s*(?P<length>{DECIMAL}))?"
    rf"(?:, acceptance rate per position = \((?P<rates>{DECIMAL}(?:, {DECIMAL})*)\))?"
)
EVERY_STEP = "steps without a draft count as rounds, so k and the acceptance length read low"


@dataclass
class _Totals:
    """Over requests: milliseconds and counts."""

    milliseconds: float = 0.0
    tokens: float = 0.0
    requests: int = 0
    drafted: float = 0.0
    accepted: float = 0.0
    rounds: float = 0.0
    told: bool = True  # whether every request that drafted said its mean length
    stood: list[float] = field(default_factory=list)  # by position, where every request says it

    def add_drafts(
        self, drafted: float, accepted: float, length: float = 0.0, rates: Sequence[float] = ()
    ) -> None:
        """Count a request's drafts; a length of 0 and no rates are ones that were not said."""
        first = not self.drafted
        self.drafted += drafted
        self.accepted += accepted
        rounds = min(accepted / (length - 1), drafted) if length > 1 else 0.0
        self.rounds += rounds
        self.told &= rounds > 0 or not drafted
        if first:
            self.stood = [0.0] * len(rates)
        self.stood = [a + b * rounds for a, b in zip(self.stood, rates, strict=False)]

    def reading(self, source: str) -> list[Reading]:
        """All of them as one."""
        steps = self.tokens - self.requests - self.accepted
        if steps <= 0 or not self.milliseconds:
            raise ReadingError(
                f"{source!r} generates {self.tokens:.0f} tokens with {self.accepted:.0f} accepted "
                "drafts: too few to time a step; take answers of 100 tokens and more"
            )
        seconds = self.milliseconds / 1e3
        rounds = min(self.rounds if self.told else steps, self.drafted)
        reading = Reading(
            source,
            rounds,
            self.drafted,
            self.accepted,
            tuple(self.stood),
            tokens_per_second=(self.tokens - self.requests) / seconds,
            requests=1,  # the time is each request's own
            step_seconds=seconds / steps,
            exact_rounds=not self.drafted,
            steps=max(steps, rounds),
            notes=() if self.told else (EVERY_STEP,),
        )
        return [reading]


def read_responses(records: Sequence[Record], source: str) -> list[Reading] | None:
    """One or more JSON responses of llama-server, all together.

    Returns:
        None if they are something else.

    Raises:
        ReadingError: a field is no number, or there is nothing to time.
    """
    if not all(isinstance(record.get("timings"), Mapping) for record in records):
        return None
    totals = _Totals()
    for record in records:
        timings = part(record, "timings", source)
        totals.requests += 1
        totals.tokens += number(timings, "predicted_n", source)
        totals.milliseconds += number(timings, "predicted_ms", source)
        drafted = optional(timings, "draft_n", source) or 0.0
        totals.add_drafts(drafted, optional(timings, "draft_n_accepted", source) or 0.0)
    return totals.reading(source)


def read_log(text: str, source: str) -> list[Reading] | None:
    """The log of llama-server, llama-cli or llama-speculative, all its requests together.

    Returns:
        None if it is no such log.

    Raises:
        ReadingError: it has drafts but no eval time, or there is nothing to time.
    """
    evals, drafts = list(EVAL.finditer(text)), list(DRAFTS.finditer(text))
    if not evals and not drafts:
        return None
    if not evals:
        raise ReadingError(
            f"{source!r} has 'draft acceptance' but no 'eval time' lines: give the whole log"
        )
    totals = _Totals(
        sum(float(line["ms"]) for line in evals),
        sum(int(line["tokens"]) for line in evals),
        len(evals),
    )
    for line in drafts:
        rates = [float(rate) for rate in (line["rates"] or "").split(",") if rate]
        length = float(line["length"] or 0)
        totals.add_drafts(int(line["drafted"]), int(line["accepted"]), length, rates)
    return totals.reading(source)
