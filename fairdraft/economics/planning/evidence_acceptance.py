"""Evidence of acceptance: how often drafts stand, as draws of what the counts allow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.planning import losses
from fairdraft.economics.planning.losses import Acceptance
from fairdraft.peers.base import Reading

FloatArray = NDArray[np.float64]

DRAWS = 2000
CLUSTERED = 4.0  # rounds of one text are alike: so many count as one
BURSTS = 10.0  # and whether a step has a draft depends still more on the one before
LIKE_FIRST = 4.0  # rounds' worth of belief that later positions are like the first
MEANS = 40.0  # rounds that a mean is taken to stand for, where none are counted


def draw_acceptance(on: Reading, noise: np.random.Generator) -> Acceptance:
    """Return draws of how often drafts stand.

    Args:
        on: with speculation.
        noise: for the draws.
    """
    counted = on.rounds if on.rounds >= 2 else MEANS
    scale = counted / on.rounds
    steps = (on.steps or on.rounds) * scale
    share = np.ones(DRAWS)
    if on.draft_share < 1:
        share = _beta(counted, steps, BURSTS, noise)
    stood = [each * scale for each in on.accepted_per_position]
    k = on.k
    if not stood:
        rate = _equal_rate(on.acceptance_length - 1, k)
        first = _beta(rate * counted, counted, CLUSTERED, noise)
        return Acceptance(share, first, first, _follows(first, k), _sound(k))
    tried = [each * scale for each in on.drafted_per_position] or [counted] * len(stood)
    reached, survives = np.ones(DRAWS), np.zeros(DRAWS)
    rates = []
    before = counted
    for j, (right, drafted) in enumerate(zip(stood, tried, strict=False)):
        trials = min(before, drafted) if j else drafted
        rates.append(_beta(right, max(trials, right), CLUSTERED, noise))
        reached = reached * rates[-1]
        survives = survives + reached * min(drafted / counted, 1.0)
        before = right
    # Positions that are not told stand in the mean alone.
    survives = survives * (on.accepted * scale + 0.5) / (sum(stood) + 0.5)
    later = rates[0]
    if len(stood) > 1:
        behind = sum(stood[1:])
        # Where next to nothing stood, what follows is taken to be like the first.
        prior = min(stood[0] / counted, 1.0)
        later = _beta(behind, max(sum(stood[:-1]), behind), CLUSTERED, noise, prior, LIKE_FIRST)
    return Acceptance(share, rates[0], later, survives / rates[0], _sound(k))


def _beta(
    successes: float,
    trials: float,
    clustered: float,
    noise: np.random.Generator,
    prior: float = 0.5,
    weight: float = 1.0,
) -> FloatArray:
    """Return draws of a share, after a prior of this mean that is worth `weight` trials.

    Args:
        successes, trials: counted.
        clustered: so many trials tell as much as one of their own would.
        noise: for the draws.
        prior, weight: what is taken to be so before anything is counted.
    """
    a = successes + weight * max(prior, 0.01)
    b = max(trials - successes, 0.0) + weight * (1 - min(prior, 0.99))
    return np.clip(noise.beta(a / clustered, b / clustered, DRAWS), 1e-6, 1.0)


def _equal_rate(accepted: float, k: float) -> float:
    """Return the rate of every position that gives so many accepted tokens a round."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        total = float(middle * _follows(np.array([middle]), k)[0])
        low, high = (middle, high) if total < accepted else (low, middle)
    return (low + high) / 2


def _follows(rate: FloatArray, k: float) -> FloatArray:
    """Return 1 + r + r² …, k terms of it, the last one in part."""
    whole = math.floor(k)
    total = sum((rate**j for j in range(whole)), np.zeros_like(rate))
    found: FloatArray = total + (k - whole) * rate**whole
    return found


def _sound(k: float) -> float:
    return float(_follows(np.array([losses.SOUND_RATE]), max(k, 1.0))[0])
