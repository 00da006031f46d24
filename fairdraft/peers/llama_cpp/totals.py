"""What llama.cpp tells of each request, summed over requests.

Each request tells the tokens it drafted, those that stood, and the time of its own tokens. Its
first token comes with the prompt; from then on a step writes what stood and one token more, so

    steps = tokens − 1 − accepted,   seconds of a step = time / steps

Draft tokens are what it calls "generated" and `draft_n`, not generated text. Rounds are told by
`mean len` (1 + accepted / rounds) in newer logs; without it every step counts as a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading

EVERY_STEP = "steps without a draft count as rounds, so k and the acceptance length read low"


@dataclass
class Totals:
    """Milliseconds and counts, summed over requests."""

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
        """Return all requests as one reading."""
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
