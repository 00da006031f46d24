"""Evidence: what two readings tell of their steps, each figure as draws of what it could be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.planning import losses
from fairdraft.economics.planning.evidence_acceptance import DRAWS, draw_acceptance
from fairdraft.economics.planning.evidence_steps import (
    WINDOW,
    likelihood,
    prompts,
    row_costs,
    spread_of,
    step_times,
    window_weights,
)
from fairdraft.economics.planning.losses import Acceptance
from fairdraft.peers.base import Reading

FloatArray = NDArray[np.float64]

# Rows where arithmetic overtakes memory: processors and chips of one memory (10 on 2 cores), and
# cards (139 on a V100, 156 on an A100, 295 on an H100, 400 on an L4): two in three are cards.
KNEES = ((8.0, 60.0, 1 / 3), (60.0, 512.0, 2 / 3))
AGAIN = (5.0, 200.0)  # plain steps that a preemption costs: reading again, and the wait before
GAUGE = 0.35  # spread of the ratio of requests that two pages tell, in logs
MORE = 1.5  # times as many preemptions as without speculation: they are its doing
FULL = 0.8  # of the KV blocks in use, from where on requests may be preempted


@dataclass(frozen=True)
class Evidence:
    """Two runs, as draws: [draws] each; `weights` say how well a draw explains what was read.

    Args:
        acceptance: of drafts.
        decoding, plainly: seconds of a step beside prompts, on and off, at the load of the run
            with speculation.
        extra: seconds on top of `plainly`, by cause.
        prompts: seconds that they take beside a token of each request, mean of both runs.
        fewer: ln (n_off / n_on) by cause, where requests had to wait.
        plain: seconds of a step of few rows.
        weights: of the draws; they add up to 1.
        most: tokens a step if every draft stood.
        hides: what each cause may be as well, because the readings do not tell them apart.
    """

    acceptance: Acceptance
    extra: dict[str, FloatArray]
    decoding: FloatArray
    plainly: FloatArray
    prompts: FloatArray
    fewer: dict[str, FloatArray]
    plain: FloatArray
    weights: FloatArray
    most: float
    hides: dict[str, tuple[str, ...]]

    @property
    def losses(self) -> dict[str, FloatArray]:
        """What each cause takes of the log of a sound run's speedup."""
        found = losses.acceptance_losses(self.acceptance)
        for each in (losses.time_losses(self.decoding, self.plainly, self.extra), self.fewer):
            for cause, loss in each.items():
                found[cause] = found.get(cause, np.zeros(DRAWS)) + loss
        return found

    @property
    def speedup(self) -> FloatArray:
        """Tokens a second on / off, as many prompts a token beside them in both runs."""
        fewer = sum(self.fewer.values(), np.zeros(DRAWS))
        a_token = self.decoding / self.acceptance.tokens + self.prompts
        gain: FloatArray = (self.plainly + self.prompts) / a_token * np.exp(-fewer)
        return gain


def weigh(on: Reading, off: Reading, seed: int = 0) -> Evidence:
    """Return the evidence of two readings; both tell a step time, and the first drafted.

    Args:
        on: with speculation.
        off: the same without it.
        seed: of the draws.
    """
    noise = np.random.default_rng(seed)
    acceptance = draw_acceptance(on, noise)
    on_time, off_time = step_times(on, noise), step_times(off, noise)
    knee = _knees(noise)
    again = AGAIN[0] * (AGAIN[1] / AGAIN[0]) ** noise.random(DRAWS)
    pressed = _pressed(on, off)
    n_on, n_off = on.requests or 1.0, off.requests or on.requests or 1.0
    # In plain steps, for each step: its own rows, prompts beside them, and what preemptions lose.
    own_on, own_off = (np.maximum(1.0, n / knee) for n in (n_on, n_off))
    read_on, read_off = prompts(on, n_on) / knee, prompts(off, n_off) / knee
    if pressed:  # what is read beyond what the same tokens took without is read again
        read_on = np.minimum(read_on, read_off * n_on / n_off * acceptance.tokens)
    lost_on, lost_off = _preempted(on) * again, _preempted(off) * again
    plain = off_time / (own_off + read_off + lost_off)
    rows = n_on * (1 + on.k * acceptance.share)
    arithmetic = np.maximum(1.0, rows / knee) - own_on
    drafting = (on.draft_seconds or 0.0) / plain
    over = on_time / plain - own_on - arithmetic - drafting - read_on
    weights = likelihood(over - lost_on, spread_of(on) * on_time / plain)
    for reading in (on, off):
        weights = weights * window_weights(reading, plain / knee)
        if not pressed:
            weights = weights * row_costs(reading, plain / knee)
    lost = np.clip(np.minimum(lost_on, over), 0.0, None)
    extra = {
        losses.SATURATION: arithmetic,
        losses.DRAFTING: drafting,
        losses.PREEMPTION: lost - lost_off,
        losses.STEP: over - lost,
    }
    fewer: dict[str, FloatArray] = {}
    if pressed:
        fewer[pressed] = _fewer(on, off, acceptance.tokens * off_time / on_time, noise)
        if pressed == losses.UNKNOWN:  # some of what no arithmetic explains may be reading again
            extra[pressed] = noise.random(DRAWS) * np.clip(extra[losses.STEP], 0.0, None)
            extra[losses.STEP] = extra[losses.STEP] - extra[pressed]
    return Evidence(
        acceptance,
        {cause: seconds * plain for cause, seconds in extra.items()},
        np.clip(on_time - read_on * plain, 0.1 * on_time, None),
        np.clip(off_time + (own_on - own_off - read_off) * plain, 0.1 * off_time, None),
        (read_off * n_on / n_off + read_on / acceptance.tokens) / 2 * plain,
        fewer,
        plain,
        weights / weights.sum(),
        1 + on.k * on.draft_share,
        _hides(on),
    )


def _knees(noise: np.random.Generator) -> FloatArray:
    """Return draws of the rows where arithmetic overtakes memory, before anything is known."""
    where = noise.random(DRAWS)
    found = np.zeros(DRAWS)
    below = 0.0
    for low, high, chance in KNEES:
        inside = (where >= below) & (where <= below + chance)
        found = np.where(inside, low * (high / low) ** ((where - below) / chance), found)
        below += chance
    return np.maximum(found, KNEES[0][0])


def _preempted(reading: Reading) -> float:
    """Return preemptions for each step of a request."""
    steps = reading.steps
    if not reading.preemptions or not steps:
        return 0.0
    return min(reading.preemptions / steps, 1.0)


def _pressed(on: Reading, off: Reading) -> str | None:
    """Return the cause that requests waited for room with speculation; None if none had to."""
    if on.preemptions and on.preemptions >= 2 and _preempted(on) > MORE * _preempted(off):
        return losses.PREEMPTION
    waits = (on.waiting or 0.0) > (off.waiting or 0.0) + 0.5
    fewer = (on.requests or 0.0) < (off.requests or 0.0)
    full = on.kv_usage is None or on.kv_usage > FULL
    return losses.UNKNOWN if waits and fewer and full else None


def _fewer(on: Reading, off: Reading, steps: FloatArray, noise: np.random.Generator) -> FloatArray:
    """Return what is lost because fewer requests ran side by side.

    Where both throughputs are told, that is what steps and tokens a step leave unexplained of them;
    else two pages told how many ran at two moments.

    Args:
        on, off: the readings.
        steps: [draws] speedup of a request.
        noise: for the throughputs.
    """
    if not (on.tokens_per_second and off.tokens_per_second):
        whole = math.log(off.requests / on.requests) if on.requests and off.requests else 0.0
        return np.maximum(whole + GAUGE * noise.standard_normal(DRAWS), 0.0)
    spread = math.hypot(*(WINDOW / math.sqrt(max(len(each.windows), 1)) for each in (on, off)))
    whole = math.log(off.tokens_per_second / on.tokens_per_second)
    found: FloatArray = whole + np.log(steps) + spread * noise.standard_normal(DRAWS)
    return np.maximum(found, 0.0)


def _hides(on: Reading) -> dict[str, tuple[str, ...]]:
    """Return by cause what it may be as well, because the reading does not tell them apart."""
    step, mismatch = [], []
    if on.draft_seconds is None:
        step.append(losses.DRAFTING)
    if on.requests is None:
        step.append(losses.SATURATION)
    if not on.preemptions and (on.kv_usage or 0.0) > FULL:
        step.append(losses.PREEMPTION)
    if len(on.accepted_per_position) < 2:
        mismatch.append(losses.COLLAPSE)
    if not on.accepted_per_position and on.draft_share == 1:  # a mean over all steps, perhaps
        mismatch.append(losses.WORKLOAD)
    return {losses.STEP: tuple(step), losses.MISMATCH: tuple(mismatch)}
