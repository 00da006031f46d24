"""Prompt costs: seconds of steps that read prompt chunks, alone or beside requests that decode.

A step's products run over all its rows together, whoever they are of, so that

    T = G(rows of chunks and decoding) + a · attention of the chunks + what decoding adds

G is the time of one request's chunk of so many rows at the beginning of its text; a, the seconds
that a row takes for each token before it, comes from chunks that begin late. A row of a chunk of p
that begins at s sees s + p/2 tokens in the mean, and G holds that of one chunk of all rows. What
decoding adds is what its step takes beyond G of its rows: attention over longer texts, and what
every request costs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fairdraft.economics.costs.cost_surface import CostSurface
from fairdraft.economics.costs.profile import Profile
from fairdraft.errors import ConfigError

Chunk = tuple[int, int]  # rows, and the tokens of its request before them
NO_LATE_CHUNKS = (
    "The profile has no prompt chunks that begin late in a text: what their attention takes is "
    "left out. Profile again."
)
NO_READING = (
    "The profile does not say how long {method} reads a prompt: that is left out. Profile again."
)


@dataclass(frozen=True)
class Line:
    """Seconds over rows: straight between knots, and on beyond the last.

    Args:
        rows: rising.
        seconds: at each, above 0.
    """

    rows: tuple[int, ...]
    seconds: tuple[float, ...]

    def at(self, rows: float) -> float:
        """Return the seconds of so many rows; 0 for none."""
        if rows <= 0:
            return 0.0
        if len(self.rows) == 1:
            return self.seconds[0] * max(rows / self.rows[0], 1.0)
        high = min(max(bisect_left(self.rows, rows), 1), len(self.rows) - 1)
        low = high - 1
        share = (rows - self.rows[low]) / (self.rows[high] - self.rows[low])
        value = self.seconds[low] + share * (self.seconds[high] - self.seconds[low])
        return max(value, self.seconds[0] * min(rows / self.rows[0], 1.0))


@dataclass(frozen=True)
class PromptCosts:
    """Seconds of steps that read prompts.

    Args:
        product: G, the seconds of one chunk at the beginning of a text, by its rows.
        attention: a, seconds a row for each token before it.
        reading: by method, seconds in which the drafter reads so many tokens of a prompt.
        notes: what was not measured, each a sentence.
    """

    product: Line
    attention: float = 0.0
    reading: Mapping[str, Line] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of_profile(cls, profile: Profile) -> PromptCosts:
        """Return the prompt costs of a profile.

        Raises:
            ConfigError: no prompt was read in it.
        """
        surface = profile.prefill
        if surface is None:
            raise ConfigError(
                "the profile has no prompts in it: profile again, with lengths of prompts to read"
            )
        known = dict(zip(*_small_runs(profile, surface.rows[0]), strict=True))
        known |= {rows: surface.seconds(1, rows, 0) for rows in surface.rows}
        product, longest = [], 0.0
        for rows in sorted(known):  # more rows take no less
            longest = max(longest, known[rows])
            product.append(longest)
        slope = _attention(surface)
        notes = [NO_LATE_CHUNKS] if slope is None else []
        notes += [
            NO_READING.format(method=method)
            for method in profile.drafters
            if method not in profile.reading
        ]
        reading = {
            method: Line(tuple(each.rows), tuple(each.seconds(1, rows, 0) for rows in each.rows))
            for method, each in profile.reading.items()
        }
        return cls(Line(tuple(sorted(known)), tuple(product)), slope or 0.0, reading, tuple(notes))

    def step(self, chunks: Sequence[Chunk], decoding: int = 0, seconds: float = 0.0) -> float:
        """Return the seconds of a step that reads chunks; drafting and its reading left out.

        Args:
            chunks: at least one.
            decoding: rows of the requests that decode beside them, drafts included.
            seconds: of a step of those alone.
        """
        rows = sum(count for count, _ in chunks)
        seen = sum(count * (start + count / 2) for count, start in chunks)
        total = self.product.at(rows + decoding) + self.attention * (seen - rows * rows / 2)
        if decoding:
            total += max(seconds - self.product.at(decoding), 0.0)
        return max(total, self.product.at(1))

    def read(self, method: str | None, rows: int) -> float:
        """Return the seconds in which a method's drafter reads so many tokens of prompts."""
        line = self.reading.get(method) if method is not None else None
        return line.at(rows) if line is not None else 0.0


def _small_runs(profile: Profile, first: int) -> tuple[list[int], list[float]]:
    """Return one request's rows below the shortest chunk, and their seconds, where measured."""
    step = profile.step
    if step.requests[0] != 1:
        return [], []
    rows = [count for count in step.rows if count < first]
    return rows, [step.seconds(1, count, 0) for count in rows]


def _attention(surface: CostSurface) -> float | None:
    """Return seconds a row and token before it, by least squares; None: no late chunk is known."""
    work, times = [], []
    for rows in surface.rows:
        for context in surface.contexts:
            if context > 0 and 0 in surface.contexts and surface.covers(1, rows, context):
                work.append(float(rows * context))
                times.append(surface.seconds(1, rows, context) - surface.seconds(1, rows, 0))
    if not work:
        return None
    return max(sum(w * t for w, t in zip(work, times, strict=True)) / sum(w * w for w in work), 0.0)
