"""Predicted beside measured, and which term of the equation explains the difference.

    speedup = tokens a step / step time,   step time = run and verification + drafting

A run's counters and times give each term as measured; its acceptance alone and a profile give each
as predicted. Terms multiply, so the error is the product of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.errors import ConfigError

SMALL = 0.02  # an error that needs no explanation


@dataclass(frozen=True)
class Reconciled:
    """One measured cell.

    Args:
        name: of the cell, for people.
        tokens: per step and request, measured: steps without a draft included.
        predicted_tokens: from one α for every token, where drafts had the lengths they had.
        step: seconds of a step, measured, drafting included and prefill left out.
        predicted_step: from the profile.
        speedup, predicted_speedup: over plain steps, measured and predicted.
        terms: measured / predicted of each term; above 1 it makes the measured speedup higher.
    """

    name: str
    tokens: float
    predicted_tokens: float
    step: float
    predicted_step: float
    speedup: float
    predicted_speedup: float
    terms: Mapping[str, float]

    @property
    def error(self) -> float:
        """Predicted / measured speedup, less 1."""
        return self.predicted_speedup / self.speedup - 1

    @property
    def cause(self) -> str:
        """The term furthest from 1; empty where the error is small."""
        if abs(self.error) < SMALL:
            return ""
        return max(self.terms, key=lambda name: abs(np.log(self.terms[name])))


def reconcile(
    cell: Mapping[str, Any],
    off: Mapping[str, Any],
    profile: Profile,
    context: float,
    extrapolate: bool = False,
) -> Reconciled:
    """Judge a cell of `fairdraft bench run` beside the one without speculation.

    Args:
        cell: with `method`, `k`, `concurrency`, `counters`, `times` and `speedup`.
        off: the cell of method none, of the same dataset and concurrency.
        profile: of the same model on the same machine.
        context: mean tokens of a request.
        extrapolate: price what was not profiled too.

    Raises:
        ConfigError: the cell lacks something, or it was not profiled.
    """
    try:
        counters, times, plain = cell["counters"], cell["times"], off["times"]
        requests, method = int(cell["concurrency"]), str(cell["method"])
        steps, rounds = counters["num_steps"], counters["num_drafts"]
        drafted, accepted = counters["num_draft_tokens"], counters["num_accepted_tokens"]
        rejections = counters["num_rejections"]
        drafted_per_pos = counters["drafted_per_pos"]
        measured = float(cell["speedup"])
        on_steps, off_steps = times["num_steps"], plain["num_steps"]
        run = (times["total"] - times["propose"]) / on_steps
        propose = times["propose"] / on_steps
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"a cell of the run lacks {error}: give what `fairdraft bench run` wrote, with method "
            "none among its methods"
        ) from None
    except ZeroDivisionError:
        raise ConfigError("a cell of the run has no steps: measure it for longer") from None
    tokens = 1 + accepted / steps
    alpha = accepted / max(accepted + rejections, 1)
    exactly = -np.diff([*drafted_per_pos, 0])  # rounds of 1, 2 … drafts
    lengths = np.arange(1, len(exactly) + 1)
    stands = float(exactly @ (np.asarray(expected_tokens_per_verify(alpha, lengths)) - 1))
    iid = 1 + stands / steps
    # Requests end at different times: what ran side by side on average is less than were sent.
    side_by_side = min(max(steps / on_steps, 1.0), requests)
    each = drafted / steps
    found = profile.step.seconds(side_by_side, 1 + each, context, extrapolate)
    plainly = profile.step.seconds(side_by_side, 1, context, extrapolate)
    # Both runs read the same prompts; what plain steps do not explain of the one without drafts
    # is that, and it weighs more in a run of fewer steps.
    reading = max(plain["total"] - off_steps * plainly, 0.0)
    base = (plain["total"] - reading) / off_steps
    run -= min(reading / on_steps, run / 2)
    asked = rounds / on_steps
    drafting = 0.0
    if rounds:
        surface = profile.drafter(method)
        longest = max(drafted / rounds, surface.rows[0])
        # A step in which nobody drafts costs no drafting; a request that does, its share.
        share = min(asked, 1.0)
        drafting = share * surface.seconds(max(asked, 1.0), longest, context, extrapolate)
    predicted = iid * plainly / (found + drafting)
    decoded = tokens * base / (run + propose)
    return Reconciled(
        f"{cell.get('dataset', '')} {method} k={cell['k']} n={requests}",
        tokens,
        iid,
        run + propose,
        found + drafting,
        measured,
        predicted,
        {
            "acceptance is not iid": tokens / iid,
            "verify growth": (found / plainly) / (run / base),
            "drafting": ((found + drafting) / found) / ((run + propose) / run),
            "prefill and ends": measured / decoded,
        },
    )
