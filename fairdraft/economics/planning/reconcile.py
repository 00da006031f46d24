"""Reconciliation: predicted beside measured, and which term of the equation explains it.

    speedup = tokens a step / step time,   step time = run and verification + drafting

A run's counters and times give each term as measured; its acceptance alone and a profile give each
as predicted. Terms multiply, so the error is the product of theirs. Where the run says how long its
prompts are, all of it is predicted, by a simulation (`whole_run`); else decoding alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.acceptance_draws import Texts
from fairdraft.economics.planning.whole_run import WholeRuns, notes_on, whole_runs
from fairdraft.errors import ConfigError
from fairdraft.peers.base import number, numbers, optional, part, parts

SMALL = 0.02  # an error that needs no explanation
NO_METHOD = "none"  # the method of a cell without speculation
CELL = "a cell of the run"
CONTEXT = 256  # tokens of a request where a run does not say


@dataclass(frozen=True)
class Reconciled:
    """A measured cell of a benchmark beside what the equation predicts.

    Args:
        name: of the cell, for people.
        tokens: per step and request, measured: steps without a draft included.
        predicted_tokens: from one α for every token, where drafts had the lengths they had.
        step: seconds of a step, measured, drafting included and prefill left out.
        predicted_step: from the profile.
        speedup, predicted_speedup: over plain steps, measured and predicted.
        terms: measured / predicted of each term; above 1 it makes the measured speedup higher.
        tokens_per_second: measured, prompts included; None if the run does not say.
        predicted_tokens_per_second: likewise; None where prompts are not priced.
    """

    name: str
    tokens: float
    predicted_tokens: float
    step: float
    predicted_step: float
    speedup: float
    predicted_speedup: float
    terms: Mapping[str, float]
    tokens_per_second: float | None = None
    predicted_tokens_per_second: float | None = None

    @property
    def error(self) -> float:
        """The relative error of the predicted speedup: predicted / measured, less 1."""
        return self.predicted_speedup / self.speedup - 1

    @property
    def cause(self) -> str:
        """The name of the term furthest from 1; empty where the error is small."""
        if abs(self.error) < SMALL:
            return ""
        return max(self.terms, key=lambda name: abs(np.log(self.terms[name])))


@dataclass(frozen=True)
class Reconciliation:
    """A benchmark's cells, predicted beside measured.

    Args:
        cells: at least one.
        left_out: methods of the run that the profile does not know.
        notes: what the predictions leave out, each a sentence.
    """

    cells: tuple[Reconciled, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def reconcile_run(
    report: Mapping[str, Any],
    source: str,
    profile: Profile,
    context: float | None = None,
    extrapolate: bool = False,
) -> Reconciliation:
    """Judge every cell of a benchmark that speculates beside the one that does not.

    Args:
        report: what `fairdraft bench run` wrote.
        source: its name, for messages.
        profile: of the same model on the same machine.
        context: mean tokens of a request; None works it out, or takes 256 if the run does not say
            how long its prompts are.
        extrapolate: price what was not profiled too.

    Raises:
        ConfigError: no cell speculates, the profile knows none of the methods, or a cell has none
            without speculation beside it.
        ReadingError: the report is damaged.
    """
    cells = parts(report, "cells", source)
    plain = {_place(cell): cell for cell in cells if cell.get("method") == NO_METHOD}
    drafting = [cell for cell in cells if cell.get("method") != NO_METHOD]
    if not drafting:
        raise ConfigError(f"no cell of {source!r} speculates: measure a method besides none")
    unknown = {str(cell.get("method")) for cell in drafting} - set(profile.drafters)
    known = [cell for cell in drafting if str(cell.get("method")) not in unknown]
    left_out = tuple(sorted(unknown))
    if not known:
        raise ConfigError(
            f"the profile knows {', '.join(profile.drafters) or 'no drafter'}, but the run has "
            f"{', '.join(left_out)}: profile those with --methods"
        )
    found = []
    for cell in known:
        off = plain.get(_place(cell))
        if off is None:
            dataset, concurrency = _place(cell)
            raise ConfigError(
                f"{source!r} has no cell of method none for {dataset!r} at {concurrency}: measure "
                f"it with --methods none,{cell['method']}"
            )
        runs = whole_runs(report, cell, profile)
        where = context if context is not None else (runs.context if runs else CONTEXT)
        found.append(reconcile(cell, off, profile, where, extrapolate, runs))
    return Reconciliation(tuple(found), left_out, notes_on(report, profile))


def _place(cell: Mapping[str, Any]) -> tuple[str, str]:
    return str(cell.get("dataset")), str(cell.get("concurrency"))


def reconcile(
    cell: Mapping[str, Any],
    off: Mapping[str, Any],
    profile: Profile,
    context: float,
    extrapolate: bool = False,
    runs: WholeRuns | None = None,
) -> Reconciled:
    """Judge a cell of `fairdraft bench run` beside the one without speculation.

    Args:
        cell: with `method`, `k`, `concurrency`, `counters`, `times` and `speedup`.
        off: the cell of method none, of the same dataset and concurrency.
        profile: of the same model on the same machine.
        context: mean tokens of a request.
        extrapolate: price what was not profiled too.
        runs: simulates the cell's prompts and answers; None predicts decoding alone.

    Raises:
        ConfigError: the cell has no steps, or it was not profiled.
        ReadingError: the cell lacks something.
    """
    measured = _Measured.of(cell, off)
    iid = _tokens_of_one_alpha(measured)
    # Requests end at different times: what ran side by side on average is less than were sent.
    side_by_side = min(max(measured.steps / measured.on_steps, 1.0), measured.requests)
    each = measured.drafted / measured.steps
    found = profile.step.seconds(side_by_side, 1 + each, context, extrapolate)
    plainly = profile.step.seconds(side_by_side, 1, context, extrapolate)
    # Both runs read the same prompts; what plain steps do not explain of the one without drafts
    # is that, and it weighs more in a run of fewer steps.
    reading = max(measured.off_total - measured.off_steps * plainly, 0.0)
    base = (measured.off_total - reading) / measured.off_steps
    run = measured.run - min(reading / measured.on_steps, measured.run / 2)
    propose = measured.propose
    drafting = _drafting(measured, profile, context, extrapolate)
    predicted = alone = iid * plainly / (found + drafting)
    rate = None
    if runs is not None:
        seconds = runs.seconds(measured.method, int(number(cell, "k", CELL)), measured.acceptance)
        predicted, rate = runs.seconds(None, 0, None) / seconds, runs.tokens / seconds
    decoded = measured.tokens * base / (run + propose)
    return Reconciled(
        f"{cell.get('dataset', '')} {measured.method} k={cell.get('k')} n={measured.requests:.0f}",
        measured.tokens,
        iid,
        run + propose,
        found + drafting,
        measured.speedup,
        predicted,
        {
            "acceptance is not iid": measured.tokens / iid,
            "verify growth": (found / plainly) / (run / base),
            "drafting": ((found + drafting) / found) / ((run + propose) / run),
            "prefill and ends": (measured.speedup / decoded) / (predicted / alone),
        },
        optional(cell, "tokens_per_second", CELL),
        rate,
    )


@dataclass(frozen=True)
class _Measured:
    """The figures of a cell and of the one without speculation, checked."""

    method: str
    requests: float
    steps: float  # decoding steps, each once for every request in it
    rounds: float
    drafted: float
    accepted: float
    rejections: float
    drafted_per_position: tuple[float, ...]
    speedup: float
    on_steps: float  # of the engine
    run: float  # seconds of a step, drafting left out
    propose: float  # seconds of drafting in a step
    off_steps: float
    off_total: float

    @classmethod
    def of(cls, cell: Mapping[str, Any], off: Mapping[str, Any]) -> _Measured:
        counters, times = part(cell, "counters", CELL), part(cell, "times", CELL)
        plain = part(off, "times", CELL)
        steps, on_steps = number(counters, "num_steps", CELL), number(times, "num_steps", CELL)
        off_steps = number(plain, "num_steps", CELL)
        requests, speedup = number(cell, "concurrency", CELL), number(cell, "speedup", CELL)
        total, propose = number(times, "total", CELL), number(times, "propose", CELL)
        off_total = number(plain, "total", CELL)
        if not (steps and on_steps and off_steps and total > propose and speedup and off_total):
            raise ConfigError("a cell of the run has no steps: measure it for longer")
        return cls(
            str(cell.get("method")),
            max(requests, 1.0),
            steps,
            number(counters, "num_drafts", CELL),
            number(counters, "num_draft_tokens", CELL),
            number(counters, "num_accepted_tokens", CELL),
            number(counters, "num_rejections", CELL),
            numbers(counters, "drafted_per_pos", CELL),
            speedup,
            on_steps,
            (total - propose) / on_steps,
            propose / on_steps,
            off_steps,
            off_total,
        )

    @property
    def tokens(self) -> float:
        """Tokens a step and request, steps without a draft included."""
        return 1 + self.accepted / self.steps

    @property
    def alpha(self) -> float:
        """The censored estimate of one token's acceptance rate."""
        return self.accepted / max(self.accepted + self.rejections, 1)

    @property
    def acceptance(self) -> Acceptance | None:
        """One α for every token, where drafts have the lengths they had; None without drafts."""
        if not self.rounds:
            return None
        reach = tuple(min(count / self.rounds, 1.0) for count in self.drafted_per_position)
        before = (1.0, *reach[:-1])
        rates = tuple(self.alpha * r / max(b, 1e-300) for r, b in zip(reach, before, strict=True))
        share = min(self.rounds / self.steps, 1.0)
        known = (math.inf,) * len(rates)
        return Acceptance((Texts(rates, known, 1.0, share, math.inf, reach, len(rates)),), "one α")


def _tokens_of_one_alpha(measured: _Measured) -> float:
    """Return tokens a step from one α for every token, where drafts had the lengths they had."""
    alpha = measured.alpha
    exactly = -np.diff([*measured.drafted_per_position, 0])  # rounds of 1, 2 … drafts
    lengths = np.arange(1, len(exactly) + 1)
    stands = float(exactly @ (np.asarray(expected_tokens_per_verify(alpha, lengths)) - 1))
    return 1 + max(stands, 0.0) / measured.steps


def _drafting(measured: _Measured, profile: Profile, context: float, extrapolate: bool) -> float:
    """Return the seconds of drafting in a step, as the profile has them."""
    if not measured.rounds:
        return 0.0
    asked = measured.rounds / measured.on_steps
    surface = profile.drafter(measured.method)
    longest = max(measured.drafted / measured.rounds, surface.rows[0])
    # A step in which nobody drafts costs no drafting; a request that does, its share.
    return min(asked, 1.0) * surface.seconds(max(asked, 1.0), longest, context, extrapolate)
