"""Evidence: what two readings tell of their steps, each figure as draws of what it could be."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
WINDOW = 0.12  # spread of a step time worked out from one window, in logs; worth `PRIOR` windows
PRIOR = 3.0
MEASURED = 0.04  # of one that was measured
ASIDE = 0.05  # of the steps' time: so much more that passed was not in them
ROW = 0.5  # spread of the cost of a prompt's row, in logs, as told by the time beside the steps
RUNS = 0.02  # between two runs of one server
KNEES = (8.0, 512.0)  # rows where arithmetic overtakes memory: 10 on 2 cores, 295 on an H100
FAULTY = 0.4  # of steps cost more than arithmetic explains, before anything is known
TAX = 0.12  # of a plain step: what being ready to speculate costs, where nothing is wrong
SLOW = 1.0  # plain steps that a slow path costs, mean
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
    acceptance = _acceptance(on, noise)
    on_time, off_time = _step_times(on, noise), _step_times(off, noise)
    knee = KNEES[0] * (KNEES[1] / KNEES[0]) ** noise.random(DRAWS)
    again = AGAIN[0] * (AGAIN[1] / AGAIN[0]) ** noise.random(DRAWS)
    pressed = _pressed(on, off)
    n_on, n_off = on.requests or 1.0, off.requests or on.requests or 1.0
    # In plain steps, for each step: its own rows, prompts beside them, and what preemptions lose.
    own_on, own_off = (np.maximum(1.0, n / knee) for n in (n_on, n_off))
    read_on, read_off = _prompts(on, n_on) / knee, _prompts(off, n_off) / knee
    if pressed:  # what is read beyond what the same tokens took without is read again
        read_on = np.minimum(read_on, read_off * n_on / n_off * acceptance.tokens)
    lost_on, lost_off = _preempted(on) * again, _preempted(off) * again
    plain = off_time / (own_off + read_off + lost_off)
    rows = n_on * (1 + on.k * acceptance.share)
    arithmetic = np.maximum(1.0, rows / knee) - own_on
    drafting = (on.draft_seconds or 0.0) / plain
    over = on_time / plain - own_on - arithmetic - drafting - read_on
    weights = _likelihood(over - lost_on, _spread(on) * on_time / plain)
    for reading in (on, off):
        weights = weights * _windows(reading, plain / knee)
        if not pressed:
            weights = weights * _row_costs(reading, plain / knee)
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


def _acceptance(on: Reading, noise: np.random.Generator) -> Acceptance:
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


def _step_times(reading: Reading, noise: np.random.Generator) -> FloatArray:
    """Return draws of the seconds of a step."""
    assert reading.step_time is not None
    return reading.step_time * np.exp(_spread(reading) * noise.standard_normal(DRAWS))


def _spread(reading: Reading) -> float:
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


def _prompts(reading: Reading, requests: float) -> float:
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


def _row_costs(reading: Reading, row: FloatArray) -> FloatArray:
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


def _preempted(reading: Reading) -> float:
    """Return preemptions for each step of a request."""
    steps = reading.steps
    if not reading.preemptions or not steps:
        return 0.0
    return min(reading.preemptions / steps, 1.0)


def _likelihood(over: FloatArray, spread: FloatArray) -> FloatArray:
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


def _windows(reading: Reading, row: FloatArray) -> FloatArray:
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
    weight: FloatArray = np.exp(-0.5 * ((apart / WINDOW) ** 2).sum(0) / CLUSTERED)
    return weight


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
