"""What steps cost now: a profile's figures, corrected by the steps that run."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.surface import CostSurface

FloatArray = NDArray[np.float64]

CONTEXT_BUCKET = 128  # tokens; costs are looked up once for each
PRIOR_STEPS = 16.0  # so many steps' worth of belief in the profile
MEMORY = 0.98  # of a correction: machines get busy, and idle again
CATCH_UP = 1 / 64  # of its first token's time, a drafter reads a row that it has not seen
ODD = 2.0  # a step so many times longer or shorter than expected counts as just that


class _Correction:
    """Measured / expected, drawn towards 1; older measurements fade, odd ones count as bounded."""

    def __init__(self) -> None:
        self.weight = PRIOR_STEPS
        self.factor = 1.0

    def add(self, ratio: float) -> None:
        """Note one ratio."""
        ratio = min(max(ratio, self.factor / ODD), self.factor * ODD)
        self.weight = PRIOR_STEPS + MEMORY * (self.weight - PRIOR_STEPS) + 1
        self.factor += (ratio - self.factor) / self.weight

    def relax(self) -> None:
        """Nothing new: drift back to what was expected."""
        self.factor += (1 - self.factor) * (1 - MEMORY)


def reading(drafter: CostSurface, rows: int, context: float) -> float:
    """Seconds in which a drafter reads so many rows of the text: of a first token, and some a row.

    Args:
        drafter: seconds of drafting.
        rows: at least 1.
        context: tokens of a request.
    """
    middle = (int(context) // CONTEXT_BUCKET + 0.5) * CONTEXT_BUCKET
    return drafter.seconds(1, 1, middle, extrapolate=True) * (1 + rows * CATCH_UP)


class Prices:
    """Seconds of steps and of drafts.

    Args:
        step: of a whole step but for drafting, rows are 1 + drafts of each request.
        drafters: by method, of drafting; rows are the draft length. A method that is not there
            costs nothing until it is measured.
        k: longest draft.
    """

    def __init__(self, step: CostSurface, drafters: dict[str, CostSurface], k: int) -> None:
        self.step = step
        self.drafters = drafters
        self.k = k
        self._steps: dict[tuple[int, int], FloatArray] = {}
        self._drafts: dict[tuple[str, int, int], FloatArray] = {}
        # Of a number of requests and of draft tokens a request.
        self._bands: defaultdict[tuple[int, int], _Correction] = defaultdict(_Correction)
        self._draft_corrections: defaultdict[str, _Correction] = defaultdict(_Correction)
        self._reading: defaultdict[str, _Correction] = defaultdict(_Correction)
        self._lookups: dict[str, float] = {}

    def steps(self, requests: int, context: float) -> FloatArray:
        """[requests · k + 1]: seconds of a step with 0, 1, 2 … draft tokens, all requests together.

        Args:
            requests: that decode.
            context: mean tokens of each.
        """
        place = (requests, int(context) // CONTEXT_BUCKET)
        if place not in self._steps:
            middle = (place[1] + 0.5) * CONTEXT_BUCKET
            extra = np.arange(requests * self.k + 1)
            self._steps[place] = np.array(
                [
                    self.step.seconds(requests, 1 + e / requests, middle, extrapolate=True)
                    for e in extra
                ]
            )
            self._steps[place].setflags(write=False)
        factors = np.array([self._bands[requests, b].factor for b in range(self.k + 1)])
        corrected = self._steps[place] * factors.repeat(requests)[: requests * self.k + 1]
        found: FloatArray = np.maximum.accumulate(corrected)
        return found

    def drafts(self, method: str, requests: int, context: float) -> FloatArray:
        """[requests + 1, k + 1]: seconds to draft for so many requests, so many tokens each."""
        place = (method, requests, int(context) // CONTEXT_BUCKET)
        if place not in self._drafts:
            found = np.zeros((requests + 1, self.k + 1))
            if method in self.drafters:
                surface, middle = self.drafters[method], (place[2] + 0.5) * CONTEXT_BUCKET
                for b in range(1, requests + 1):
                    for k in range(1, self.k + 1):
                        found[b, k] = surface.seconds(b, k, middle, extrapolate=True)
            self._drafts[place] = found
        return self._drafts[place] * self._draft_corrections[method].factor

    def catch_up(self, method: str, rows: int, context: float) -> float:
        """Seconds in which a drafter reads so many rows of the text at once; 0 for none."""
        if not rows or method not in self.drafters:
            return 0.0
        return reading(self.drafters[method], rows, context) * self._reading[method].factor

    def learn_step(self, requests: int, drafted: int, context: float, seconds: float) -> None:
        """Note what a step took that ran only requests that decode.

        Args:
            requests: of them.
            drafted: draft tokens it verified.
            context: mean tokens of each.
            seconds: drafting left out.
        """
        if seconds <= 0:  # the clock stands still: nothing to learn
            return
        extra = min(drafted, requests * self.k)
        place = (requests, int(context) // CONTEXT_BUCKET)
        if place in self._steps:
            expected = float(self._steps[place][extra])
            for b in range(self.k + 1):
                if b == extra // requests:
                    self._bands[requests, b].add(seconds / expected)
                else:  # what was not seen of late is believed less and less
                    self._bands[requests, b].relax()

    def learn_draft(
        self, method: str, requests: int, k: int, context: float, seconds: float
    ) -> None:
        """Note what drafting took, k tokens at most for each of so many requests."""
        if method not in self.drafters:
            each = seconds / max(requests, 1)
            before = self._lookups.get(method, each)
            self._lookups[method] = before + 0.1 * (min(each, 4 * before) - before)
            return
        if seconds <= 0:
            return
        middle = (int(context) // CONTEXT_BUCKET + 0.5) * CONTEXT_BUCKET
        expected = self.drafters[method].seconds(requests, k, middle, extrapolate=True)
        self._draft_corrections[method].add(seconds / expected)

    def learn_catch_up(self, method: str, rows: int, context: float, seconds: float) -> None:
        """Note what it took a drafter to read so many rows."""
        if seconds > 0 and method in self.drafters:
            expected = reading(self.drafters[method], rows, context)
            self._reading[method].add(seconds / expected)

    def lookup(self, method: str) -> float:
        """Seconds a request's lookup takes, as measured; 0 before the first."""
        return self._lookups.get(method, 0.0)
