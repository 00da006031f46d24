"""Step costs: seconds at a draft length and a load, with draws of how noisy they were measured.

Two sources: a `Profile`, in which steps and drafting were timed apart, and a sweep of any engine,
in which a step's seconds at each draft length hold its drafting already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.prompt_costs import PromptCosts
from fairdraft.errors import ConfigError
from fairdraft.peers.base import Reading

FloatArray = NDArray[np.float64]
SWEPT = "drafter"  # the method of a sweep whose own is not told


@dataclass(frozen=True)
class StepCosts:
    """Seconds of a step by draft length and load, from a profile or from a sweep of runs.

    Args:
        step: seconds; rows are 1 + drafts of each request.
        drafters: by method, seconds of drafting; None where `step` holds that.
        context: tokens of each request before the step.
        notes: what the intervals leave out, each a sentence.
        prompts: seconds of steps that read prompts; None: not known.
    """

    step: CostSurface
    drafters: Mapping[str, CostSurface | None]
    context: float = 0.0
    notes: tuple[str, ...] = field(default=())
    prompts: PromptCosts | None = None

    @classmethod
    def of_profile(cls, profile: Profile, context: float | None = None) -> StepCosts:
        """Return the step costs of a profile.

        Args:
            profile: with at least one drafter.
            context: the shortest measured by default.

        Raises:
            ConfigError: it has no drafter.
        """
        if not profile.drafters:
            raise ConfigError(
                "the profile has no drafter to plan for: profile again with --methods ngram, say"
            )
        if context is None:
            context = profile.step.contexts[0]
        prompts = PromptCosts.of_profile(profile) if profile.prefill is not None else None
        return cls(profile.step, profile.drafters, context, (), prompts)

    @classmethod
    def of_sweep(cls, runs: Iterable[Reading], method: str = SWEPT) -> StepCosts:
        """Return the step costs of runs at several draft lengths, none among them, and loads.

        Runs of the same setting are samples of it. Every load must be measured at every k.

        Args:
            runs: each with its k (0: without speculation), its requests and its step time.
            method: who drafts.

        Raises:
            ConfigError: no runs, none without speculation, none with it, or a step time or load
                that is not told.
        """
        samples: dict[tuple[int, int], list[float]] = {}
        for run in runs:
            if run.step_time is None or run.requests is None:
                raise ConfigError(
                    f"{run.source!r} does not tell the step time and the running requests: give "
                    "runs that say throughput and load (vllm bench serve --max-concurrency N)"
                )
            place = max(round(run.requests), 1), draft_length(run)
            samples.setdefault(place, []).append(run.step_time)
        ks = {k for _, k in samples}
        if not samples:
            raise ConfigError("the sweep is empty: give runs at k = 0 and at least one other k")
        if 0 not in ks or len(ks) < 2:
            lacking = "without speculation (k = 0)" if 0 not in ks else "with speculation"
            raise ConfigError(
                f"the sweep has no run {lacking}, only k = {sorted(ks)}: measure it at the same "
                "loads"
            )
        points = [Point(n, 1 + k, 0, tuple(times)) for (n, k), times in samples.items()]
        once = any(len(point.samples) == 1 for point in points)
        note = "Some step times were measured once: their noise is not in the intervals."
        return cls(CostSurface(points, "the sweep"), {method: None}, 0.0, (note,) if once else ())

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods whose costs are known."""
        return tuple(self.drafters)

    @property
    def ks(self) -> range:
        """Draft lengths from 1 to the longest measured."""
        surfaces = [s for s in self.drafters.values() if s is not None]
        return range(1, min([self.step.rows[-1] - 1, *(s.rows[-1] for s in surfaces)]) + 1)

    def require_method(self, method: str) -> None:
        """Raise `ConfigError` if a method's costs are not known."""
        if method not in self.drafters:
            raise ConfigError(
                f"method {method!r} was not measured (drafters there: {', '.join(self.methods)}): "
                "profile it, or name one of these"
            )

    def covers(self, method: str | None, k: int, requests: int) -> bool:
        """Whether a step with k drafts a request was measured, or lies between such."""
        drafter = self.drafters[method] if method is not None else None
        return self.step.covers(requests, 1 + k, self.context) and (
            drafter is None or k == 0 or drafter.covers(requests, k, self.context)
        )

    def draw(self, draws: int = 0, seed: int = 0) -> DrawnCosts:
        """Return these costs with draws: medians of n samples out of each point's n, resampled."""
        rng = np.random.default_rng(seed)
        surfaces: dict[str | None, CostSurface | None] = {None: self.step}
        surfaces.update(self.drafters)
        grids = {
            method: _resample(surface, draws, rng)
            for method, surface in surfaces.items()
            if surface is not None
        }
        return DrawnCosts(self, grids)


@dataclass(frozen=True)
class DrawnCosts:
    """Step costs with bootstrap draws of them: arrays have the estimate first."""

    costs: StepCosts
    grids: Mapping[str | None, FloatArray]  # [1 + draws, *grid]

    def seconds(
        self, method: str | None, k: int, requests: int, drafting: tuple[float, float] | None = None
    ) -> FloatArray:
        """Return seconds of a step with k drafts a request: [1 + draws].

        Beyond what was measured they go on in a straight line.

        Args:
            method: who drafts; None: nobody.
            k: draft length, 0 without drafting.
            requests: side by side.
            drafting: share of requests that have a draft in a step, and its mean length; a sweep
                has that in its step times. All of them, and k, by default.
        """
        if method is None or k == 0:
            return self._at(None, self.costs.step, requests, 1)
        drafter = self.costs.drafters[method]
        if drafter is None:
            return self._swept(k, requests)
        share, length = drafting or (1.0, float(k))
        from scipy.stats import binom

        # How many of the requests have a draft differs from step to step.
        chances = binom.pmf(np.arange(requests + 1), requests, share)
        found = self._at(method, drafter, requests, k)
        for some in np.flatnonzero(chances > 1e-6):
            rows = 1 + length * some / requests
            found = found + chances[some] * self._at(None, self.costs.step, requests, rows)
        return found

    def _swept(self, k: int, requests: int) -> FloatArray:
        """Return seconds of a swept step, drafting included: [1 + draws].

        Drafting at all may cost something, so that steps jump between k = 0 and 1. Below the first
        k that was measured, a step takes what the line through the first two says, or the line
        from k = 0, whichever is more.
        """
        step, rows = self.costs.step, self.costs.step.rows
        found = self._at(None, step, requests, 1 + k)
        if len(rows) > 2 and 1 + k < rows[1]:
            first, second = (self._at(None, step, requests, each) for each in rows[1:3])
            slope = (second - first) / (rows[2] - rows[1])
            found = np.maximum(found, first - slope * (rows[1] - 1 - k))
        return found

    def _at(
        self, name: str | None, surface: CostSurface, requests: float, rows: float
    ) -> FloatArray:
        weights = _weights(surface, requests, rows, self.costs.context)
        times = np.where(weights == 0, 0.0, self.grids[name])  # a hole weighs nothing
        return np.asarray(np.maximum((times * weights).sum((1, 2, 3)), 1e-9))


def draft_length(run: Reading) -> int:
    """Return k as it was set: the positions that are counted, or the rounded mean length."""
    return max(len(run.accepted_per_position), len(run.drafted_per_position), round(run.k))


def _resample(surface: CostSurface, draws: int, rng: np.random.Generator) -> FloatArray:
    """Return the fit, and draws of it that move as resampled medians do: [1 + draws, *grid].

    Fitting each draw again would take seconds, and the fit follows the medians.
    """
    found = np.repeat(surface.grid[None], 1 + draws, axis=0)
    for point in surface.points:
        place = (
            surface.requests.index(point.requests),
            surface.rows.index(point.rows),
            surface.contexts.index(point.context),
        )
        samples = np.array(point.samples)
        if len(samples) > 1 and draws:
            medians = np.median(rng.choice(samples, (draws, len(samples))), axis=1)
            found[(slice(1, None), *place)] *= medians / point.seconds
    return found


def _weights(surface: CostSurface, requests: float, rows: float, context: float) -> FloatArray:
    """Return the weight of each grid point in the interpolation that `CostSurface` makes."""
    found = np.zeros_like(surface.grid)
    along_requests = _shares(surface.requests, requests)
    along_rows = _shares(surface.rows, rows)
    contexts = np.array(surface.contexts)
    for i, j in zip(*np.nonzero(np.outer(along_requests, along_rows)), strict=True):
        known = ~np.isnan(surface.grid[i, j])
        shares = _shares(contexts[known], max(context, contexts[known][0]))
        found[i, j, known] = along_requests[i] * along_rows[j] * shares
    return found


def _shares(measured: Sequence[float] | NDArray[np.int64], value: float) -> FloatArray:
    """Return the weight of each measured value on the straight line through its neighbours."""
    if len(measured) == 1:
        return np.ones(1)
    from scipy.interpolate import make_interp_spline

    return np.asarray(make_interp_spline(measured, np.eye(len(measured)), k=1)(value))
