"""Cost surfaces: measured seconds of a step over (requests, rows of each, context).

Between measured points it is interpolated; beyond them it is refused, unless the caller asks for
it. The fit never falls along an axis: more work takes no less time, and where a measurement says
otherwise it is noise (pool adjacent violators, Barlow et al. 1972, along each axis in turn).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]
AXES = ("requests", "rows", "context")
LARGEST = 10**9  # along an axis: beyond it, a file is damaged
_PASSES = 20  # over the axes; three make a grid monotone to a microsecond in practice
_LEAST = 1e-9  # seconds; a straight line may fall below


@dataclass(frozen=True)
class Point:
    """A measured setting: a load, and the seconds that steps took there.

    Args:
        requests: B, side by side.
        rows: of each: 1 plus drafts in a target's run; of a drafter, the draft length.
        context: tokens of each before the step.
        samples: seconds.
    """

    requests: int
    rows: int
    context: int
    samples: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median of the samples."""
        return median(self.samples)


class CostSurface:
    """Seconds of a step over (requests, rows of each, context).

    Args:
        points: at least one; every measured number of requests with every measured number of rows,
            each at one context or more.
        name: for messages.

    Raises:
        ConfigError: no points, a hole in the grid, or times that are not above 0.
    """

    def __init__(self, points: Iterable[Point], name: str = "the profile") -> None:
        self.points = sorted(points, key=lambda p: (p.requests, p.rows, p.context))
        self.name = name
        if not self.points:
            raise ConfigError(f"{name} has no measured points: profile at least one setting")
        self.requests = sorted({p.requests for p in self.points})
        self.rows = sorted({p.rows for p in self.points})
        self.contexts = sorted({p.context for p in self.points})
        shape = (len(self.requests), len(self.rows), len(self.contexts))
        grid = np.full(shape, np.nan)
        for p in self.points:
            if not (p.samples and np.isfinite(p.seconds) and p.seconds > 0):
                raise ConfigError(
                    f"{name} has no time above 0 at {_setting(p.requests, p.rows, p.context)}: "
                    "measure it again"
                )
            place = (
                self.requests.index(p.requests),
                self.rows.index(p.rows),
                self.contexts.index(p.context),
            )
            grid[place] = p.seconds
        for i, j in np.ndindex(shape[:2]):
            if np.isnan(grid[i, j]).all():
                raise ConfigError(
                    f"{name} lacks {self.requests[i]} requests of {self.rows[j]} rows: measure "
                    "every number of requests with every number of rows"
                )
        self.grid = _monotone(grid)
        self._holes = np.argwhere(np.isnan(grid).any(2)).tolist()  # columns that have some

    def seconds(
        self, requests: float, rows: float, context: float, extrapolate: bool = False
    ) -> float:
        """Return the seconds of a step, interpolated between measured settings.

        Args:
            requests, rows: as in `Point`; a mean, where requests differ.
            context: likewise. Below the shortest measured it costs what that does.
            extrapolate: go on in a straight line beyond what was measured.

        Raises:
            ConfigError: it was not measured, and `extrapolate` is False.
        """
        wanted = (requests, rows, context)
        if not extrapolate:
            self._require_measured(wanted)
        corners = itertools.product(_bracket(self.requests, requests), _bracket(self.rows, rows))
        total = 0.0
        for (i, share), (j, part) in corners:
            if share * part:
                total += share * part * self._along_context(i, j, context)
        return max(total, _LEAST)

    def table(self, requests: Sequence[float], rows: Sequence[float], context: float) -> FloatArray:
        """Return seconds by requests and rows, extrapolated where need be: [requests, rows]."""
        within = max(context, self.contexts[0])
        plane = self.grid @ _weights(self.contexts, [within])[0]
        for i, j in self._holes:
            plane[i, j] = self._along_context(i, j, context)
        found = _weights(self.requests, requests) @ plane @ _weights(self.rows, rows).T
        least: FloatArray = np.maximum(found, _LEAST)
        return least

    def covers(self, requests: float, rows: float, context: float) -> bool:
        """Whether a step lies within what was measured."""
        try:
            self._require_measured((requests, rows, context))
        except ConfigError:
            return False
        return True

    def _require_measured(self, wanted: Sequence[float]) -> None:
        limits = (self.requests, self.rows, [0, *self.contexts])
        for axis, value, measured in zip(AXES, wanted, limits, strict=True):
            if not measured[0] <= value <= measured[-1]:
                raise ConfigError(
                    f"{axis} = {value:g} was not measured: {self.name} has {axis} from "
                    f"{measured[0]} to {measured[-1]}; profile it, or ask for an extrapolation"
                )
        for (i, share), (j, part) in itertools.product(
            _bracket(self.requests, wanted[0]), _bracket(self.rows, wanted[1])
        ):
            most = max(c for c, t in zip(self.contexts, self.grid[i, j], strict=True) if t == t)
            if share * part and wanted[2] > most:
                raise ConfigError(
                    f"context = {wanted[2]:g} was not measured with {self.requests[i]} requests of "
                    f"{self.rows[j]} rows: {self.name} has up to {most}; profile it, or ask for an "
                    "extrapolation"
                )

    def _along_context(self, i: int, j: int, context: float) -> float:
        column = self.grid[i, j]
        known = ~np.isnan(column)
        contexts = np.asarray(self.contexts)[known].tolist()
        times = column[known]
        context = max(context, contexts[0])
        return float(sum(w * times[n] for n, w in _bracket(contexts, context)))


def points_of(records: Iterable[dict[str, Any]], name: str) -> list[Point]:
    """Read points from a profile's JSON.

    Args:
        records: as `record_of` makes them.
        name: of the profile, for messages.

    Raises:
        ConfigError: a record lacks something, holds something else than numbers, or numbers that
            no profile has.
    """
    found = []
    for record in records:
        try:
            samples = tuple(float(s) for s in record["samples"])
            requests, rows, context = (_whole(record, axis) for axis in AXES)
            found.append(Point(requests, rows, context, samples))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"{name} holds a broken point ({type(error).__name__}: {error}): profile again"
            ) from None
    return found


def _whole(record: dict[str, Any], axis: str) -> int:
    value = record[axis]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(f"{axis} is {value!r:.40}, but must be a whole number up to {LARGEST:g}")
    return value


def record_of(point: Point) -> dict[str, Any]:
    """Return a point for a profile's JSON."""
    return {axis: getattr(point, axis) for axis in AXES} | {
        "seconds": point.seconds,
        "samples": list(point.samples),
    }


def _bracket(measured: Sequence[float], value: float) -> list[tuple[int, float]]:
    """Return the two measured places around a value, with weights; outside, the nearest two."""
    if len(measured) == 1:
        return [(0, 1.0)]
    high = min(max(int(np.searchsorted(measured, value)), 1), len(measured) - 1)
    share = (value - measured[high - 1]) / (measured[high] - measured[high - 1])
    return [(high - 1, 1 - share), (high, share)]


def _weights(measured: Sequence[float], values: Sequence[float]) -> FloatArray:
    """Return the weights that `_bracket` gives each value: [values, measured]."""
    found = np.zeros((len(values), len(measured)))
    if len(measured) == 1:
        return found + 1.0
    places, knots = np.arange(len(values)), np.asarray(measured, np.float64)
    high = np.searchsorted(knots, values).clip(1, len(measured) - 1)
    share = (np.asarray(values) - knots[high - 1]) / (knots[high] - knots[high - 1])
    found[places, high - 1], found[places, high] = 1 - share, share
    return found


def _monotone(grid: FloatArray) -> FloatArray:
    """Return the closest grid that falls along no axis; holes stay holes."""
    from scipy.optimize import isotonic_regression

    fitted = grid.copy()
    for _ in range(_PASSES):
        before = fitted.copy()
        for axis in range(fitted.ndim):
            lines = np.moveaxis(fitted, axis, -1).reshape(-1, fitted.shape[axis])
            for line in lines:
                known = ~np.isnan(line)
                line[known] = isotonic_regression(line[known]).x
            moved = np.moveaxis(fitted, axis, -1)
            moved[...] = lines.reshape(moved.shape)
        if np.nanmax(np.abs(fitted - before)) < 1e-9:
            break
    holes = np.isnan(grid)
    fitted[holes] = -np.inf
    for axis in range(fitted.ndim):  # what little the passes left
        fitted = np.maximum.accumulate(fitted, axis)
    fitted[holes] = np.nan
    return fitted


def _setting(requests: int, rows: int, context: int) -> str:
    return f"{requests} requests of {rows} rows at context {context}"
