"""Which draft length, or none, at which load: every cell priced, with intervals, and a choice.

    speedup(k, B) = E(k) · T(0, B) / T(k, B)

with E tokens a step and request (`acceptance`) and T seconds of a step of B requests
(`step_costs`). Intervals are bootstrapped from both: acceptance from its counts, step times from
their samples. Where the traffic is described, its prompts are priced too: a simulation of it
(`queueing`) says how many seconds they add to a token, and those are held while the rest is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fairdraft.economics.costs.step_costs import DrawnCosts, StepCosts
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.acceptance_draws import DrawnAcceptance
from fairdraft.economics.planning.plan import Cell, Choice, Plan
from fairdraft.economics.planning.queueing import Limits
from fairdraft.economics.planning.rates import served_at_load
from fairdraft.economics.planning.served import Served
from fairdraft.economics.planning.thresholds import thresholds
from fairdraft.economics.planning.traffic import Traffic
from fairdraft.errors import ConfigError
from fairdraft.stats import interval

__all__ = ["DRAWS", "Cell", "Choice", "Plan", "plan"]

DRAWS = 2000


def plan(
    costs: StepCosts,
    acceptance: Acceptance | Mapping[str, Acceptance],
    ks: Iterable[int] | None = None,
    concurrencies: Iterable[int] | None = None,
    *,
    extrapolate: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    traffic: Traffic | None = None,
    limits: Limits | None = None,
) -> Plan:
    """Price every draft length at every load, and choose.

    At a load the choice is the best estimate among the draft lengths whose interval lies above 1,
    the shortest of those within 1e-9 of it; if there is none, off. What was not measured is left
    out, or, extrapolated, marked.

    Args:
        costs: of steps.
        acceptance: of each method, or of the only one.
        ks: draft lengths, at least 1; by default all that were measured.
        concurrencies: requests side by side; by default those measured.
        extrapolate: price what was not measured too: costs in a straight line, acceptance by its
            last rate.
        draws: of the bootstrap.
        seed: of the same; one seed draws the same step times for every acceptance.
        traffic: lengths of prompts and answers; None prices decoding alone.
        limits: of the server that serves it, seats left out: there is one for each request. The
            engine's own by default.

    Raises:
        ConfigError: a draft length or load below 1, a method that was not measured, nothing left
            to price, or prompts that have no price.
    """
    if isinstance(acceptance, Acceptance):
        if len(costs.methods) != 1:
            raise ConfigError(
                f"the acceptance is of one drafter, and there are {', '.join(costs.methods)}: say "
                "which"
            )
        acceptance = {costs.methods[0]: acceptance}
    lengths = _whole("k", costs.ks if ks is None else ks, "0 needs no entry: off is always priced")
    loads = _whole("concurrency", costs.step.requests if concurrencies is None else concurrencies)
    for method in acceptance:
        costs.require_method(method)
    drawn = costs.draw(draws, seed)
    serve = None if traffic is None else _Serving(costs, traffic, limits or Limits(), seed)
    cells: dict[tuple[str, int, int], Cell | None] = {}
    choices: dict[tuple[str, int], Choice | None] = {}
    for method, accepted in acceptance.items():
        row = accepted.draw(max(lengths), draws, seed)
        for n in loads:
            priced = {
                k: _price(drawn, row, accepted, method, n, k, extrapolate, serve)
                for k in (0, *lengths)
            }
            cells |= {(method, n, k): cell for k, cell in priced.items()}
            known = [cell for cell in priced.values() if cell is not None]
            choices[method, n] = _choose(known, accepted) if priced[0] and known[1:] else None
    if not any(choices.values()):
        raise ConfigError(
            f"none of k = {list(lengths)} was measured at any of {list(loads)} requests, or its "
            f"acceptance was not: {costs.step.name} has {costs.step.requests} requests and k up to "
            f"{costs.ks[-1]}, context up to {costs.step.contexts[-1]}; measure them, or pass "
            "--extrapolate"
        )
    notes = costs.notes if serve is None or costs.prompts is None else serve.notes
    return Plan(tuple(acceptance), lengths, loads, cells, choices, notes)


class _Serving:
    """Simulations of the traffic at a load, each made once."""

    def __init__(self, costs: StepCosts, traffic: Traffic, limits: Limits, seed: int) -> None:
        self.costs, self.traffic, self.limits, self.seed = costs, traffic, limits, seed
        self._plain: dict[int, Served] = {}  # without speculation it is the same for every method

    @property
    def notes(self) -> tuple[str, ...]:
        """What the prices leave out, each a sentence."""
        prompts = self.costs.prompts.notes if self.costs.prompts is not None else ()
        return (*self.costs.notes, *prompts)

    def __call__(self, acceptance: Acceptance, method: str, requests: int, k: int) -> Served:
        if not k and requests in self._plain:
            return self._plain[requests]
        found = served_at_load(
            self.costs, self.traffic, requests, method, k, acceptance, self.limits, self.seed
        )
        if not k:
            self._plain[requests] = found
        return found


def _price(
    costs: DrawnCosts,
    drawn: DrawnAcceptance,
    acceptance: Acceptance,
    method: str,
    requests: int,
    k: int,
    extrapolate: bool,
    serve: _Serving | None,
) -> Cell | None:
    longest = acceptance.longest
    measured = all(costs.costs.covers(method, i, requests) for i in (0, k))
    measured &= longest is None or k <= longest
    if not measured and not extrapolate:
        return None
    plain = costs.seconds(None, 0, requests)
    step = costs.seconds(method, k, requests, drawn.drafting(k)) if k else plain
    tokens = drawn.tokens(k)
    served, reading, plainly = None, 0.0, 0.0
    if serve is not None:
        served, off = (serve(acceptance, method, requests, i) for i in (k, 0))
        reading = requests / served.tokens_per_second - float(step[0] / tokens[0])
        plainly = requests / off.tokens_per_second - float(plain[0])
    each = np.maximum(step / tokens + reading, 1e-9)  # seconds a token of a request
    rate = requests / each
    return Cell(
        method,
        requests,
        k,
        measured,
        float(tokens[0]),
        float(drawn.length(k)[0]),
        float(step[0]),
        interval(np.maximum(plain + plainly, 1e-9) / each),
        interval(rate),
        rate,
        reading,
        served,
    )


def _choose(cells: Sequence[Cell], acceptance: Acceptance) -> Choice:
    """Choose among the cells at one load, of which the first is without speculation."""
    off, *others = cells
    sure = {cell.k: cell.speedup.value for cell in others if cell.speedup.low > 1}
    chosen = off
    if sure:
        k = int(best_k(list(sure.values()), list(sure)))
        chosen = next(cell for cell in others if cell.k == k)
    exact = acceptance.draw(max(cell.k for cell in cells))
    switches, above = thresholds(
        exact, {cell.k: (cell.step, cell.reading) for cell in cells}, chosen.k
    )
    rivals = [
        cell.k
        for cell in others
        if cell is not chosen
        and chosen.k
        and interval(cell.draws / chosen.draws).high >= 1
        and cell.speedup.low > 1
    ]
    return Choice(chosen, tuple(rivals), switches, above)


def _whole(name: str, values: Iterable[int], remedy: str = "") -> tuple[int, ...]:
    found = tuple(sorted(set(values)))
    if not found:
        raise ConfigError(f"there is no {name} to plan for: give at least one")
    for value in found:
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ConfigError(
                f"{name} is {value}, but must be a whole number from 1 on"
                + (f": {remedy}" if remedy else "")
            )
    return tuple(int(value) for value in found)
