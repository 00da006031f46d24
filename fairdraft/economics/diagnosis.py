"""Why speculation pays or not, from two measurements: with it and without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairdraft.economics.cost import break_even_length

COLLAPSE = 0.35  # first token's acceptance below this, of a trained drafter, is a mismatch
STEEP = 1.5  # a step so many times longer than without speculation is the first thing to look at


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, if anything, and what to try.

    Args:
        break_even: mean acceptance length at which it would pay.
        length: the one measured, the bonus token included.
        ceiling: the most that k + 1 can give.
        speedup: tokens per second on / off, one request's.
        winnable: whether a drafter that is always right would pay at this k.
        cause: the likely one, in words.
        advice: the next thing to try.
        confidence: "high", "medium" or "low".
    """

    break_even: float
    length: float
    ceiling: float
    speedup: float
    winnable: bool
    cause: str
    advice: str
    confidence: str


def diagnose(
    baseline: float,
    step: float,
    length: float,
    k: float,
    survivals: Sequence[float] = (),
    measured: bool = True,
) -> Diagnosis:
    """Judge a run with speculation beside one without.

    Args:
        baseline: seconds of a step without speculation.
        step: seconds of a step with it, drafting included.
        length: mean acceptance length, the bonus token included.
        k: mean draft length.
        survivals: S_1 …, if they are known.
        measured: whether the step times were, or worked out from throughput.
    """
    needed = break_even_length(baseline, step)
    gain = length / needed
    most = k + 1
    first = survivals[0] if survivals else None
    if needed > most:
        confidence = "high" if measured or needed > 1.5 * most else "medium"
        return Diagnosis(
            needed,
            length,
            most,
            gain,
            False,
            f"step cost: a step takes {needed:.2f} plain ones, and k = {k:.0f} can write "
            f"{most:.0f} tokens at most",
            f"no k = {k:.0f} drafter can win: find what made the step {needed:.1f} times longer "
            "(a slower attention path, no CUDA graphs, a drafter that is waited for, saturation), "
            "or turn it off",
            confidence,
        )
    if gain >= 1.0:
        return Diagnosis(
            needed,
            length,
            most,
            gain,
            True,
            f"it pays: {length:.2f} tokens a step, and {needed:.2f} are needed",
            "leave it on; try a longer draft if most of its positions stand"
            if survivals and survivals[-1] > 0.6
            else "leave it on",
            "high" if measured else "medium",
        )
    if first is not None and first < COLLAPSE:
        cause = (
            f"the first token stands in {first:.0%} of rounds: the drafter does not fit (another "
            "chat template or tokenizer, another target's head), or the texts have nothing to draft"
        )
        advice = "try a prompt it was measured on; if it is right there, it is the traffic"
    elif needed > STEEP:
        cause = f"step cost: a step takes {needed:.2f} plain ones; acceptance is not the trouble"
        advice = f"shorten the draft: k = {max(int(k) // 2, 1)}, and measure the step again"
    else:
        cause = f"{length:.2f} tokens a step, and {needed:.2f} are needed"
        advice = "a shorter draft, a better drafter, or off"
    return Diagnosis(
        needed, length, most, gain, True, cause, advice, "medium" if measured else "low"
    )
