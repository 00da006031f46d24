"""Bounds of the acceptance length at which another draft length becomes the better one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.planning.acceptance_draws import DrawnAcceptance

FloatArray = NDArray[np.float64]
_STEPS = 1000  # of the scan; each switch found is then bisected
# By draft length: seconds of a step, and those that prompts add to a token of a request.
Costs = Mapping[int, tuple[float, float]]


@dataclass(frozen=True)
class Threshold:
    """A bound of the mean acceptance length, and the draft length that is better beyond it.

    Args:
        k: the draft length that is better beyond it, 0 for off.
        length: the bound, a mean acceptance length with the bonus token.
    """

    k: int
    length: float


def thresholds(
    acceptance: DrawnAcceptance, costs: Costs, now: int
) -> tuple[tuple[Threshold, ...], Threshold | None]:
    """Return where to switch to, should acceptance fall; or, when off, where to switch on.

    The rates of all positions are scaled together, from those measured down to 0 (when off: up to
    1), and every draft length is tried at each; what steps cost stays as it is.

    Args:
        acceptance: the estimate alone.
        costs: by draft length, 0 among them.
        now: the draft length in use.

    Returns:
        Falling bounds, read at k = now, and none when off; for off, the bound from which on
        speculation pays, read at its own k, if acceptance can reach it.
    """
    if now == 0:
        return (), _switch_on(acceptance, costs)
    found: list[Threshold] = []
    scales = np.linspace(1, 0, _STEPS + 1)
    best = _best(acceptance, costs, scales)
    lowest = now
    for i in range(len(scales)):
        k = int(best[i])
        if k >= lowest:
            continue
        # Where it was no better a moment before; at the start it is better right away.
        scale = float(scales[i])
        if i:
            scale = _bisect(acceptance, costs, float(scales[i - 1]), scale, lowest)
        found.append(Threshold(k, float(acceptance.length(now, scale)[0])))
        lowest = k
    return tuple(found), None


def _switch_on(acceptance: DrawnAcceptance, costs: Costs) -> Threshold | None:
    scales = np.linspace(0, 2, 2 * _STEPS + 1)
    best = _best(acceptance, costs, scales)
    if not best.any():
        return None
    first = int(np.argmax(best > 0))
    low, high = float(scales[max(first - 1, 0)]), float(scales[first])
    for _ in range(40):
        middle = (low + high) / 2
        if _best(acceptance, costs, np.array([middle]))[0] > 0:
            high = middle
        else:
            low = middle
    k = int(_best(acceptance, costs, np.array([high]))[0])
    return Threshold(k, float(acceptance.length(k, high)[0]))


def _bisect(
    acceptance: DrawnAcceptance,
    costs: Costs,
    above: float,
    below: float,
    lowest: int,
) -> float:
    """Return the scale at which a draft length under `lowest` becomes the best."""
    for _ in range(40):
        middle = (above + below) / 2
        if _best(acceptance, costs, np.array([middle]))[0] < lowest:
            below = middle
        else:
            above = middle
    return below


def _best(acceptance: DrawnAcceptance, costs: Costs, scales: FloatArray) -> NDArray[np.int64]:
    """Return the best draft length at each scale: [scales]."""
    ks = sorted(costs)
    tokens = {k: acceptance.tokens(k, scales) for k in ks}
    rates = [1 / (costs[k][0] / tokens[k] + costs[k][1]) for k in ks]
    return best_k(np.stack(rates, axis=-1), ks)
