"""Evidence of steps: what they take, what prompts take of it, what that says of the machine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.planning.evidence_acceptance import CLUSTERED, DRAWS
from fairdraft.peers.base import Reading

FloatArray = NDArray[np.float64]

WINDOW = 0.12  # spread of a step time worked out from one window, in logs; worth `PRIOR` windows
PRIOR = 3.0
MEASURED = 0.04  # of one that was measured
RUNS = 0.02  # between two runs of one server
ASIDE = 0.05  # of the steps' time: so much more that passed was not in them
ROW = 0.5  # spread of the cost of a prompt's row, in logs, as told by the time beside the steps
FAULTY = 0.5  # of steps cost more than arithmetic explains, before anything is known
TAX = 0.12  # of a plain step: what being ready to speculate costs, where nothing is wrong
SLOW = 1.0  # plain steps that a slow path costs, mean


def step_times(reading: Reading, noise: np.random.Generator) -> FloatArray:
    """Return draws of the seconds of a step."""
    assert reading.step_time is not None
    return reading.step_time * np.exp(spread_of(reading) * noise.standard_normal(DRAWS))


def spread_of(reading: Reading) -> float:
    """Return the standard error of the log of a step time."""
    if reading.step_is_measured:
        return math.hypot(MEASURED, RUNS)
    told = [each.step_time for each in reading.windows]
    times = [math.log(each) for each in told if each]
    count = max(len(times), 1)
    middle = sum(times) / count
    squares = sum((each - middle) ** 2 for each in times)
    variance = (PRIOR * WINDOW**2 + squares) / (PRIOR + count - 1)
    return math.hypot(math.sqrt(variance / count), RUNS)


def prompts(reading: Reading, requests: float) -> float:
    """Return rows of prompts a step, where the step time has them in it."""
    return _prompt_rows(reading, requests) if _idle(reading) < ASIDE else 0.0


def _prompt_rows(reading: Reading, requests: float) -> float:
    """Return rows of prompts for each step of all requests; 0 if they are not told."""
    a_token = 0.0
    if reading.prompt_tokens is not None and reading.generated:
        a_token = reading.prompt_tokens / reading.generated
    elif reading.tokens_per_second:
        a_token = (reading.prompt_tokens_per_second or 0.0) / reading.tokens_per_second
    return requests * reading.tokens_per_step * a_token


def _idle(reading: Reading) -> float:
    """Return the time beside the steps that were measured, as a share of them."""
    if not (reading.step_seconds and reading.tokens_per_second and reading.requests):
        return 0.0
    whole = reading.requests * reading.tokens_per_step / reading.tokens_per_second
    return whole / reading.step_seconds - 1


def row_costs(reading: Reading, row: FloatArray) -> FloatArray:
    """Return the weight of draws by what a row of a prompt took, where only prompts lie between.

    Args:
        reading: of steps that only decode, and of a throughput that has all steps in it.
        row: [draws] seconds of a row.
    """
    rows, idle = _prompt_rows(reading, reading.requests or 0.0), _idle(reading)
    if not rows or idle < ASIDE:
        return np.ones(DRAWS)
    told = idle * (reading.step_seconds or 0.0) / rows
    weight: FloatArray = np.exp(-0.5 * (np.log(row / told) / ROW) ** 2)
    return weight


def likelihood(over: FloatArray, spread: FloatArray) -> FloatArray:
    """Return the weight of draws that leave so many plain steps without an explanation.

    Nothing but a tax is left where nothing is wrong, an exponential law of more where a path is
    slow, and less than nothing only by noise.
    """
    width = np.hypot(TAX, spread)
    sound = np.exp(-0.5 * (over / width) ** 2) / width * 0.8
    slow = np.where(over > 0, np.exp(-np.maximum(over, 0.0) / SLOW) / SLOW, 0.0)
    weights = (1 - FAULTY) * sound + FAULTY * slow + 1e-300
    total: FloatArray = weights / weights.sum()
    return total


def window_weights(reading: Reading, row: FloatArray) -> FloatArray:
    """Return the weight of draws by how steps get fewer in windows that read more prompts.

    Args:
        reading: windows of which tell prompts and throughput.
        row: [draws] seconds of a row of a prompt.
    """
    told = [
        (each.prompt_tokens_per_second, math.log(each.step_time))
        for each in reading.windows
        if each.prompt_tokens_per_second is not None and each.step_time
    ]
    if reading.step_is_measured or len(told) < 3:
        return np.ones(DRAWS)
    prompts, times = (np.array(column)[:, None] for column in zip(*told, strict=True))
    left = np.clip(1 - prompts * row, 0.02, None)  # of a second, for steps
    apart = times + np.log(left)
    apart = apart - apart.mean(0)
    misfit = ((apart / WINDOW) ** 2).sum(0) / CLUSTERED
    weight: FloatArray = np.exp(-0.5 * (misfit - misfit.min()))
    return weight
