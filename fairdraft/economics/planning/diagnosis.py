"""Diagnosis: why speculation pays or not, from a run with it and one without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairdraft.economics.equations.cost import break_even_length
from fairdraft.errors import ConfigError, ReadingError
from fairdraft.peers.base import Reading

CONFIDENCES = ("high", "medium", "low")

COLLAPSE = 0.35  # first token's acceptance below this, of a trained drafter, is a mismatch
HOPELESS = 0.15  # and below this there is little else it can be
STEEP = 1.5  # a step so many times longer than without speculation is the first thing to look at
RARE = 0.25  # of the steps: fewer with a draft, and it is the text that has nothing to draft
JUMP = 0.25  # later positions stand so much oftener than the first: it starts in the wrong place
STEADY = 0.6  # and they stand at least so often
CROWDED = 16  # rows in a step, from where on a small machine's runs may be bound by arithmetic
ROW_COST = 0.25  # of a plain step, that a row more takes where runs are bound by arithmetic
SLACK = 1.2  # above k + 1 rows one by one: no arithmetic explains it
MARGIN = 1.05  # a speedup closer to 1 than this could be noise
ALIKE = 1.5  # runs whose numbers of requests differ by more are not under the same load


@dataclass(frozen=True)
class Finding:
    """A possible cause of a run that is slower than it should be.

    Args:
        cause: its name, a colon, and what shows it.
        advice: the next thing to try.
        confidence: "high", "medium" or "low".
    """

    cause: str
    advice: str
    confidence: str


@dataclass(frozen=True)
class Diagnosis:
    """Possible causes of a slow run, the likeliest first, and the figures they rest on.

    Args:
        break_even: tokens a step at which it would pay; where every step has a draft, the mean
            acceptance length.
        length: the tokens a step measured, the bonus token included.
        ceiling: the most that a drafter which is always right could give at this k.
        findings: what may be the matter, the likeliest first; at least one.
    """

    break_even: float
    length: float
    ceiling: float
    findings: tuple[Finding, ...]

    @property
    def speedup(self) -> float:
        """Tokens per second on / off, of one request."""
        return self.length / self.break_even

    @property
    def winnable(self) -> bool:
        """Whether a drafter that is always right would pay at this k."""
        return self.break_even <= self.ceiling

    @property
    def cause(self) -> str:
        """The likeliest cause, in words."""
        return self.findings[0].cause

    @property
    def advice(self) -> str:
        """The next thing to try about the likeliest cause."""
        return self.findings[0].advice

    @property
    def confidence(self) -> str:
        """Confidence in the likeliest cause: "high", "medium" or "low"."""
        return self.findings[0].confidence


@dataclass(frozen=True)
class _Case:
    """The figures that the rules look at, as `diagnose` takes them."""

    needed: float
    tokens: float
    most: float
    k: float
    length: float
    survivals: Sequence[float]
    measured: bool
    requests: float | None
    share: float

    @property
    def rows(self) -> float:
        return 0.0 if self.requests is None else self.requests * (self.k + 1)

    @property
    def per_row(self) -> float:
        """What each drafted token adds to a step, in plain steps."""
        return (self.needed - 1) / (self.k * self.share)


def diagnose_readings(on: Reading, off: Reading) -> Diagnosis:
    """Judge a measured run with speculation beside one without.

    Args:
        on: with speculation.
        off: the same without it.

    Raises:
        ReadingError: `on` drafted nothing, `off` drafted, or a step time cannot be told.
    """
    if not on.speculates:
        raise ReadingError(
            f"{on.source!r} drafted nothing: it was taken without speculation, or no text gave a "
            "draft; give the run with speculation first"
        )
    if off.speculates:
        raise ReadingError(f"{off.source!r} speculates too: --baseline is the run without")
    return diagnose(
        step_time(off),
        step_time(on),
        on.acceptance_length,
        on.k,
        on.survivals,
        on.step_is_measured and off.step_is_measured,
        on.requests,
        on.draft_share,
    )


def step_time(reading: Reading) -> float:
    """Return the seconds of a step.

    Raises:
        ReadingError: the reading does not tell them.
    """
    if not reading.step_time:
        raise ReadingError(
            f"the step time of {reading.source!r} cannot be told: it lacks that, and throughput or "
            "running requests too; give a log, a benchmark's result or a page of /metrics"
        )
    return reading.step_time


def caveats(on: Reading, off: Reading) -> list[str]:
    """Return what to know before the two runs are compared, each a phrase."""
    found = list(dict.fromkeys((*on.biases, *off.biases)))
    if on.requests and off.requests:
        low, high = sorted((on.requests, off.requests))
        if high > ALIKE * low:
            found.append(
                f"{off.requests:.1f} requests ran without speculation and {on.requests:.1f} with "
                "it: compare runs under the same load"
            )
    return found


def diagnose(
    baseline: float,
    step: float,
    length: float,
    k: float,
    survivals: Sequence[float] = (),
    measured: bool = True,
    requests: float | None = None,
    draft_share: float = 1.0,
) -> Diagnosis:
    """Judge the figures of a run with speculation beside one without.

    Args:
        baseline: seconds of a step without speculation.
        step: seconds of a step with it, drafting included, mean over steps with and without draft.
        length: mean acceptance length, the bonus token included.
        k: mean draft length, above 0.
        survivals: S_1 …, if they are known.
        measured: whether the step times were, or worked out from throughput.
        requests: mean number running with speculation, if it is known.
        draft_share: share of the decoding steps that had a draft, in (0, 1].

    Raises:
        ConfigError: a step takes no time, or nothing was drafted.
    """
    if not (k > 0 and 0 < draft_share <= 1):
        raise ConfigError(
            f"k is {k} and the share of steps with a draft {draft_share}, but nothing can be said "
            "of a run that drafts nothing: give the run with speculation"
        )
    needed = break_even_length(baseline, step)
    tokens, most = 1 + (length - 1) * draft_share, 1 + k * draft_share
    case = _Case(needed, tokens, most, k, length, survivals, measured, requests, draft_share)
    if tokens >= needed:
        findings = [_pays(case)]
    else:
        rules = (_nothing_to_draft, _first_position, _mismatch, _saturation, _steep)
        found = [finding for rule in rules if (finding := rule(case)) is not None]
        findings = sorted(found, key=lambda each: CONFIDENCES.index(each.confidence))
        if needed > most and draft_share >= RARE:  # whatever else there is, it is not the drafter
            findings = [_too_dear(case), *(each for each in findings if each.cause[:4] != "step")]
    return Diagnosis(needed, tokens, most, tuple(findings) or (_too_short(case),))


def _timed(case: _Case, confidence: str) -> str:
    """Return a confidence that rests on step times: a notch lower where they are estimates."""
    if case.measured:
        return confidence
    return CONFIDENCES[min(CONFIDENCES.index(confidence) + 1, len(CONFIDENCES) - 1)]


def _pays(case: _Case) -> Finding:
    advice = "leave it on"
    if case.survivals and case.survivals[-1] > STEADY:
        advice = "leave it on; try a longer draft, for most of its last positions stand"
    return Finding(
        f"it pays: {case.tokens:.2f} tokens a step, and {case.needed:.2f} are needed",
        advice,
        _timed(case, "high" if case.tokens >= MARGIN * case.needed else "medium"),
    )


def _remedy(case: _Case) -> str:
    if case.per_row > SLACK:
        return (
            "a draft adds more than a plain step for every token in it, which no arithmetic "
            "explains: look for a slow path (no CUDA graph of that size, attention made for one "
            "query row) or a drafter that is waited for; time draft and verification apart"
        )
    return (
        f"each drafted token adds {case.per_row:.2f} of a plain step: a cheaper drafter, or "
        f"k = {max(int(case.k) // 2, 1)}; time draft and verification apart to see which"
    )


def _too_dear(case: _Case) -> Finding:
    return Finding(
        f"step cost: a step takes {case.needed:.2f} plain ones, and k = {case.k:.3g} can write "
        f"{case.most:.3g} tokens at most",
        f"no k = {case.k:.3g} drafter can win: {_remedy(case)}; or turn it off",
        "high" if case.measured or case.needed > 1.5 * case.most else "medium",
    )


def _steep(case: _Case) -> Finding | None:
    if case.needed <= STEEP:
        return None
    cause = f"step cost: a step takes {case.needed:.2f} plain ones"
    return Finding(cause, _remedy(case), _timed(case, "medium"))


def _nothing_to_draft(case: _Case) -> Finding | None:
    if case.share >= RARE:
        return None
    return Finding(
        f"workload: {case.share:.0%} of the steps have a draft, and the others pay "
        f"{case.needed - 1:.0%} for being ready to: the texts repeat too little",
        "a drafter that always has a guess (a trained head), shorter matches (prompt_lookup_min), "
        "or off for this traffic",
        "high" if case.share < RARE / 2 else "medium",
    )


def _first_position(case: _Case) -> Finding | None:
    if len(case.survivals) < 2 or not case.survivals[0]:
        return None
    first, later = case.survivals[0], case.survivals[1] / case.survivals[0]
    if first >= 0.5 or later < STEADY or later - first < JUMP:
        return None
    return Finding(
        f"position-1 collapse: the first token stands in {first:.0%} of rounds, but the second in "
        f"{later:.0%} of those: the drafter knows the language and starts in the wrong place",
        "compare the token ids that drafter and target see (chat template, BOS, tokenizer, hidden "
        "states one position off); of an n-gram lookup it means matches that are too short: raise "
        "prompt_lookup_min",
        "high" if first < HOPELESS else "medium",
    )


def _mismatch(case: _Case) -> Finding | None:
    # Without positions: all of them alike, which reads the first too low.
    first = case.survivals[0] if case.survivals else (case.length - 1) / case.k
    if first >= COLLAPSE or _first_position(case) is not None:
        return None
    return Finding(
        f"drafter mismatch: the first token stands in {first:.0%} of rounds: the drafter does not "
        "fit (a head of another target or version, another tokenizer), or not this text",
        "try a prompt it was measured on: if it is right there, it is the traffic; if not, check "
        "which target it was trained for",
        "high" if first < HOPELESS and case.survivals else "medium",
    )


def _saturation(case: _Case) -> Finding | None:
    if case.rows < CROWDED or not ROW_COST <= case.per_row <= SLACK:
        return None
    return Finding(
        f"saturation: {case.requests:.0f} requests make {case.rows:.0f} rows a step, and each "
        f"drafted token adds {case.per_row:.2f} of a plain step: the machine has no room left",
        "shorter drafts as more requests run, none from some number on "
        "(num_speculative_tokens_per_batch_size in vLLM); measure one request to be sure",
        _timed(case, "high" if case.rows >= 4 * CROWDED else "medium"),
    )


def _too_short(case: _Case) -> Finding:
    return Finding(
        f"acceptance: {case.tokens:.2f} tokens a step, and {case.needed:.2f} are needed",
        "a shorter draft, a better drafter, or off",
        _timed(case, "medium"),
    )
