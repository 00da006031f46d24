"""Costs of the steps that run now: a profile's, corrected as they run, or timed from nothing."""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.costs.cost_surface import CostSurface

FloatArray = NDArray[np.float64]

CONTEXT_BUCKET = 128  # tokens; costs are looked up once for each
PRIOR_STEPS = 16.0  # so many steps' worth of belief in the profile
MEMORY = 0.98  # of a correction: machines get busy, and idle again
CATCH_UP = 1 / 64  # of its first token's time, a drafter reads a row that it has not seen
UNREAD_ROWS = 64  # that a drafter keeps of a text while nobody asks for its drafts
LESSONS = 4  # steps noted before prices are worked out anew
ODD = 2.0  # a step so many times longer or shorter than expected counts as just that
SAMPLES = 32  # latest times kept where nothing was expected; their median is the cost
FIRST_SAMPLES = 3  # times before such a cost is believed: the first calls compile and warm up


class _Correction:
    """Ratio of measured to expected seconds, drawn towards 1.

    Older measurements fade, odd ones count as bounded. There is one for each of some bands; those
    not seen of late drift back to what was expected.
    """

    def __init__(self, bands: int = 1) -> None:
        self.weights, self.factors = [PRIOR_STEPS] * bands, [1.0] * bands

    def add(self, ratio: float, band: int = 0) -> None:
        """Note the ratio of one measurement."""
        before = self.factors[band]
        weight = PRIOR_STEPS + MEMORY * (self.weights[band] - PRIOR_STEPS) + 1
        self.factors = [factor + (1 - factor) * (1 - MEMORY) for factor in self.factors]
        bounded = min(max(ratio, before / ODD), before * ODD)
        self.factors[band] = before + (bounded - before) / weight
        self.weights[band] = weight


def reading_seconds(token: float, rows: int) -> float:
    """Return the seconds in which a drafter reads so many rows of the text at once.

    They are those of a first token, and some more for each row.

    Args:
        token: seconds to draft one for one request.
        rows: at least 1.
    """
    return token * (1 + rows * CATCH_UP)


class LiveCosts:
    """Seconds of steps and of drafts, measured beforehand and corrected by every step that runs.

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
        self._corrected: dict[tuple[int, int], FloatArray] = {}  # of _steps, as last worked out
        self._drafts: dict[tuple[str, int, int], FloatArray] = {}
        # By requests, for each number of draft tokens a request, 0 to k.
        self._bands: defaultdict[int, _Correction] = defaultdict(lambda: _Correction(k + 1))
        self._draft_corrections: defaultdict[str, _Correction] = defaultdict(_Correction)
        self._reading: defaultdict[str, _Correction] = defaultdict(_Correction)
        self._lookups: dict[str, float] = {}
        self._lessons = 0

    def steps(self, requests: int, context: float) -> FloatArray:
        """Return the seconds of a step with 0, 1, 2 … draft tokens, all requests together.

        Args:
            requests: that decode.
            context: mean tokens of each.

        Returns:
            [requests · k + 1].
        """
        place = (requests, int(context) // CONTEXT_BUCKET)
        if place not in self._steps:
            middle = (place[1] + 0.5) * CONTEXT_BUCKET
            rows = (1 + np.arange(requests * self.k + 1) / requests).tolist()
            self._steps[place] = self.step.table([requests], rows, middle)[0]
        if place not in self._corrected:
            factors = np.array(self._bands[requests].factors).repeat(requests)
            corrected = self._steps[place] * factors[: requests * self.k + 1]
            self._corrected[place] = np.maximum.accumulate(corrected)
            self._corrected[place].setflags(write=False)
        return self._corrected[place]

    def drafts(self, method: str, requests: int, context: float) -> FloatArray:
        """Return the seconds [requests + 1, k + 1] to draft for so many requests, so far each."""
        expected = self._expected(method, requests, context)
        corrected: FloatArray = expected * self._draft_corrections[method].factors[0]
        return corrected

    def _expected(self, method: str, requests: int, context: float) -> FloatArray:
        """Return what `drafts` would if nothing had been learned."""
        place = (method, requests, int(context) // CONTEXT_BUCKET)
        if place not in self._drafts:
            found = np.zeros((requests + 1, self.k + 1))
            if method in self.drafters:
                middle = (place[2] + 0.5) * CONTEXT_BUCKET
                sizes = (range(1, requests + 1), range(1, self.k + 1))
                found[1:, 1:] = self.drafters[method].table(*sizes, middle)
            self._drafts[place] = found
        return self._drafts[place]

    def catch_up(self, method: str, rows: int, context: float) -> float:
        """Return the seconds in which a drafter reads so many rows of the text; 0 for none."""
        if not rows or method not in self.drafters:
            return 0.0
        token = float(self._expected(method, 1, context)[1, 1])
        return reading_seconds(token, rows) * self._reading[method].factors[0]

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
            self._bands[requests].add(seconds / expected, extra // requests)
            self._lessons += 1
            if self._lessons % LESSONS == 0:
                self._corrected.clear()

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
        expected = float(self._expected(method, requests, context)[requests, min(k, self.k)])
        self._draft_corrections[method].add(seconds / expected)

    def learn_catch_up(self, method: str, rows: int, context: float, seconds: float) -> None:
        """Note what it took a drafter to read so many rows."""
        if seconds > 0 and method in self.drafters:
            expected = reading_seconds(float(self._expected(method, 1, context)[1, 1]), rows)
            self._reading[method].add(seconds / expected)

    def lookup(self, method: str) -> float:
        """Return the seconds that a request's lookup takes, as measured; 0 before the first."""
        return self._lookups.get(method, 0.0)


class _Timed:
    """Median of the latest seconds of something."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        """Note one time."""
        self._latest.append(seconds)

    @property
    def seconds(self) -> float:
        """The median; 0.0 until there are enough."""
        return median(self._latest) if len(self._latest) >= FIRST_SAMPLES else 0.0


class TimedCosts:
    """A request's share of a step and of drafting, in seconds; nothing is known before they run."""

    def __init__(self) -> None:
        self._step = _Timed()
        self._drafts: defaultdict[str, _Timed] = defaultdict(_Timed)

    def step(self) -> float:
        """Return the seconds of a step but for drafting, a request; 0 before enough have run."""
        return self._step.seconds

    def draft(self, method: str) -> float:
        """Return the seconds in which a method drafts for one request; 0 before it did."""
        return self._drafts[method].seconds

    def learn_step(self, requests: int, drafted: int, context: float, seconds: float) -> None:
        """Note what a step took; arguments as of `LiveCosts.learn_step`."""
        self._step.add(seconds / requests)

    def learn_draft(
        self, method: str, requests: int, k: int, context: float, seconds: float
    ) -> None:
        """Note what drafting took; arguments as of `LiveCosts.learn_draft`."""
        self._drafts[method].add(seconds / requests)

    def catch_up(self, method: str, rows: int, context: float) -> float:
        """Return 0: drafters that read every step have nothing to catch up on."""
        return 0.0

    def learn_catch_up(self, method: str, rows: int, context: float, seconds: float) -> None:
        """Note nothing, for the same reason."""
