"""The counters of speculation. Every acceptance figure in fairdraft is read from here.

Three figures go by the name of "acceptance"; they differ in their denominators:

* acceptance rate = accepted / drafted tokens. Biased low as an estimate of alpha, because a
  rejection also throws away the untested rest of its draft.
* mean acceptance length = tokens per round, the recovered or bonus token included:
  1 + accepted / rounds. vLLM's "mean acceptance length". Course texts often leave the 1 out.
* per-position rate = accepted at position i / drafted at position i. Public engines divide by
  all rounds instead, which is wrong as soon as the draft length varies.

Only tokens that were given to the caller count. A text may end inside an accepted stretch (EOS, a
stop string, a length limit): the draft counts as far as the text goes, and no recovered or bonus
token followed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from fairdraft.stats import wilson


def _add_at(counts: list[int], length: int) -> None:
    """Add one to each of the first `length` entries, growing the list as needed."""
    if length > len(counts):
        counts.extend([0] * (length - len(counts)))
    for i in range(length):
        counts[i] += 1


@dataclass
class SpecCounters:
    """Counts over the decoding steps of one request or of a whole engine.

    Attributes:
        num_steps: decoding steps, those without a draft included.
        num_drafts: rounds, that is steps that verified at least one draft token.
        num_draft_tokens: tokens verified, counted after trimming, up to the end of the text.
        num_accepted_tokens: draft tokens that stood and were given.
        num_rejections: rounds that ended in a rejection, not in a bonus token.
        num_cut_rounds: rounds in which the text ended on an accepted draft token.
        num_emitted_tokens: tokens given: accepted + steps − cut rounds.
        drafted_per_pos: entry i counts the rounds that drafted an (i+1)-th token on some path.
        accepted_per_pos: entry i counts the rounds whose (i+1)-th token stood.
    """

    num_steps: int = 0
    num_drafts: int = 0
    num_draft_tokens: int = 0
    num_accepted_tokens: int = 0
    num_rejections: int = 0
    num_cut_rounds: int = 0
    num_emitted_tokens: int = 0
    drafted_per_pos: list[int] = field(default_factory=list)
    accepted_per_pos: list[int] = field(default_factory=list)

    def record(
        self,
        drafted: int,
        accepted: int,
        emitted: int,
        depths: Sequence[int] | None = None,
        rejected: bool | None = None,
    ) -> None:
        """Count one decoding step of one request.

        Args:
            drafted: tokens verified; of a tree, its nodes.
            accepted: of them, those that stand.
            emitted: tokens given to the caller, at least 1; as many as `accepted` or fewer where
                the text ended inside the accepted stretch.
            depths: of a tree, the depth of each node, from 1; None for a chain.
            rejected: of a tree, whether something was drafted where it ended; None for a chain.
        """
        if rejected is None:
            rejected = accepted < drafted
        deepest = drafted if depths is None else max(depths, default=0)
        if emitted <= accepted:
            accepted = deepest = emitted
            drafted = emitted if depths is None else sum(depth <= emitted for depth in depths)
            rejected = False
            self.num_cut_rounds += 1
        self.num_steps += 1
        self.num_drafts += drafted > 0
        self.num_draft_tokens += drafted
        self.num_accepted_tokens += accepted
        self.num_rejections += rejected
        self.num_emitted_tokens += emitted
        _add_at(self.drafted_per_pos, deepest)
        _add_at(self.accepted_per_pos, accepted)

    def merge(self, other: SpecCounters) -> None:
        """Add the counts of `other` to these."""
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if isinstance(mine, list):
                mine.extend([0] * (len(theirs) - len(mine)))
                for i, count in enumerate(theirs):
                    mine[i] += count
            else:
                setattr(self, f.name, mine + theirs)

    @property
    def acceptance_rate(self) -> float:
        """Accepted / drafted tokens; 0.0 before the first draft."""
        return self.num_accepted_tokens / max(self.num_draft_tokens, 1)

    @property
    def mean_acceptance_length(self) -> float:
        """Tokens given per round with a draft, the one after the draft included; 1.0 before any."""
        own = self.num_accepted_tokens - self.num_cut_rounds
        return 1 + own / max(self.num_drafts, 1)

    @property
    def tokens_per_step(self) -> float:
        """Tokens given per decoding step, steps without a draft included; 1.0 before any."""
        return self.num_emitted_tokens / self.num_steps if self.num_steps else 1.0

    @property
    def acceptance_rate_per_pos(self) -> list[float]:
        """Accepted / drafted at each position; each position's own denominator."""
        accepted = self.accepted_per_pos + [0] * len(self.drafted_per_pos)
        return [a / d for a, d in zip(accepted, self.drafted_per_pos, strict=False)]

    @property
    def acceptance_intervals_per_pos(self) -> list[tuple[float, float, float]]:
        """Per position the rate, and its 95% interval (Wilson's for a binomial share)."""
        rows = []
        accepted = self.accepted_per_pos + [0] * len(self.drafted_per_pos)
        for drafted, stood in zip(self.drafted_per_pos, accepted, strict=False):
            rows.append((stood / drafted, *wilson(stood, drafted)))
        return rows

    @property
    def alpha(self) -> float:
        """Censored estimate of one token's acceptance rate: accepted / (accepted + rejections).

        A round tests its accepted tokens and the first rejected one; what follows a rejection is
        unknown, and a round in which every draft stood has no rejection. 0.0 before the first.
        """
        tested = self.num_accepted_tokens + self.num_rejections
        return self.num_accepted_tokens / tested if tested else 0.0


@dataclass
class StepTimes:
    """Seconds spent in each of the five verbs of a step, summed over steps."""

    schedule: float = 0.0
    run: float = 0.0
    verify: float = 0.0
    update: float = 0.0
    propose: float = 0.0
    num_steps: int = 0

    def add(self, other: StepTimes) -> None:
        """Add the times of `other` to these."""
        for f in fields(self):
            setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    @property
    def total(self) -> float:
        """Seconds of the five verbs together."""
        return self.schedule + self.run + self.verify + self.update + self.propose

    @property
    def overhead(self) -> float:
        """Share of the time spent outside the model's run, in [0, 1]."""
        return 1 - self.run / self.total if self.total else 0.0
