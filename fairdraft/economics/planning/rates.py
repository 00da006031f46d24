"""Traffic served at a load or at a rate: the simulation's answers, and what to use at a rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fairdraft.economics.costs.serving_costs import ServingCosts
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.queueing import Limits, poisson_arrivals, simulate
from fairdraft.economics.planning.rounds import round_laws
from fairdraft.economics.planning.served import Served
from fairdraft.economics.planning.traffic import Traffic
from fairdraft.errors import ConfigError

LEAST, EACH = 64, 16  # requests simulated at a load: so many at least, and for each client
AT_RATE = 500  # requests simulated at the rate that is asked for: five of them wait p99 or longer
SCANNED = 150  # requests simulated at each rate tried on the way to where the choice changes
RATES = 6  # tried first; between two that differ it is then bisected
HALVINGS = 4
TIE = 0.01  # so much less latency than off's counts as less: a simulation tells no smaller gain


def served_at_load(
    costs: StepCosts,
    traffic: Traffic,
    requests: int,
    method: str | None,
    k: int,
    acceptance: Acceptance | None,
    limits: Limits,
    seed: int = 0,
) -> Served:
    """Simulate so many clients, each sending its next request when its last has ended.

    Args:
        costs: of steps, prompts among them.
        traffic: lengths.
        requests: at once; the server has a seat for each.
        method: who drafts; None: nobody.
        k: draft length, 0 without drafting.
        acceptance: of the method; None without one.
        limits: of the server, seats left out.
        seed: of lengths and acceptance.

    Raises:
        ConfigError: prompts have no price, or a request is larger than the KV pool.
    """
    prompts, outputs = traffic.draw(max(LEAST, EACH * requests), seed)
    seats = replace(
        limits,
        max_num_seqs=requests,
        max_num_batched_tokens=max(limits.max_num_batched_tokens, requests),
    )
    return simulate(
        prompts,
        outputs,
        ServingCosts(costs, method, k),
        round_laws(acceptance, k),
        seats,
        concurrency=requests,
        drain=False,
        seed=seed,
    )


@dataclass(frozen=True)
class AtRate:
    """A draft length at a rate.

    Args:
        k: draft length, 0 for off.
        served: of requests that arrive independently at the rate.
        saturates: requests a second that it can finish; where more arrive, the queue grows for
            as long as they do, and the times of `served` with it.
    """

    k: int
    served: Served
    saturates: float


@dataclass(frozen=True)
class RatePlan:
    """What to use at a rate, and from which rates on something else is better.

    Args:
        method: who drafts.
        rate: requests a second.
        cells: by draft length, off among them.
        k: the draft length of the least mean latency among those that do not saturate, off unless
            it gains a hundredth; the one that finishes most where all do.
        changes: rates from which on another draft length is the better one, each with it, rising
            from the lowest that was tried; the first is what to use below the second.
        saturates: the rate at which everything does.
    """

    method: str
    rate: float
    cells: Mapping[int, AtRate]
    k: int
    changes: tuple[tuple[float, int], ...]
    saturates: float

    @property
    def off_from(self) -> float | None:
        """The rate from which on off is best, up to where all saturates; None: it never is."""
        return self.changes[-1][0] if self.changes[-1][1] == 0 else None


def plan_rate(
    costs: StepCosts,
    acceptance: Acceptance,
    method: str,
    traffic: Traffic,
    rate: float,
    ks: Iterable[int],
    limits: Limits,
    *,
    extrapolate: bool = False,
    seed: int = 0,
) -> RatePlan:
    """Choose a draft length for requests that arrive at a rate.

    Args:
        costs: of steps, prompts among them.
        acceptance: of the method.
        method: who drafts.
        traffic: lengths.
        rate: requests a second, above 0.
        ks: draft lengths above 0; those that were not measured are left out.
        limits: of the server.
        extrapolate: take those too.
        seed: of lengths, arrivals and acceptance: one seed, one answer.

    Raises:
        ConfigError: prompts have no price, a request is larger than the KV pool, or so many at once
            were not measured.
    """
    costs.require_method(method)
    longest = acceptance.longest

    def measured(k: int) -> bool:
        known = costs.covers(method, k, limits.max_num_seqs) and costs.covers(method, k, 1)
        return extrapolate or (known and (longest is None or k <= longest))

    lengths = [0, *(k for k in sorted(set(ks)) if k and measured(k))]
    if not measured(0) or len(lengths) < 2:
        raise ConfigError(
            f"1 to {limits.max_num_seqs} requests at context {costs.context:.0f} were not measured "
            f"at any k: {costs.step.name} has {costs.step.requests} requests, context up to "
            f"{costs.step.contexts[-1]}; set --max-num-seqs, profile these, or pass --extrapolate"
        )
    bench = _Trials(costs, acceptance, method, traffic, limits, seed)
    cells = {k: AtRate(k, bench.at(rate, k, AT_RATE), bench.saturates(k)) for k in lengths}
    chosen = _best(rate, {k: c.served for k, c in cells.items()}, bench)
    most = max(cells.values(), key=lambda cell: cell.saturates)
    few = sorted({0, chosen, most.k, bench.calm(lengths)})
    changes = _changes(bench, few, most.saturates)
    return RatePlan(method, rate, cells, chosen, changes, most.saturates)


class _Trials:
    """Simulations of one method, each made once."""

    def __init__(
        self,
        costs: StepCosts,
        acceptance: Acceptance,
        method: str,
        traffic: Traffic,
        limits: Limits,
        seed: int,
    ) -> None:
        self.costs, self.acceptance, self.method = costs, acceptance, method
        self.traffic, self.limits, self.seed = traffic, limits, seed
        self._made: dict[tuple[float, int, int], Served] = {}
        self._prices: dict[int, ServingCosts] = {}
        self._saturates: dict[int, float] = {}

    def at(self, rate: float, k: int, count: int) -> Served:
        """Serve so many requests that arrive at a rate."""
        if (rate, k, count) not in self._made:
            if k not in self._prices:
                self._prices[k] = ServingCosts(self.costs, self.method, k)
            prompts, outputs = self.traffic.draw(count, self.seed)
            self._made[rate, k, count] = simulate(
                prompts,
                outputs,
                self._prices[k],
                round_laws(self.acceptance, k),
                self.limits,
                arrivals=poisson_arrivals(rate, count, self.seed),
                seed=self.seed,
            )
        return self._made[rate, k, count]

    def saturates(self, k: int) -> float:
        """Return the requests that a full house finishes a second."""
        if k not in self._saturates:
            full = self.load(self.limits.max_num_seqs, k)
            self._saturates[k] = full.tokens_per_second / self.traffic.mean_output
        return self._saturates[k]

    def load(self, requests: int, k: int) -> Served:
        """Serve so many clients at once."""
        acceptance = self.acceptance if k else None
        return served_at_load(
            self.costs,
            self.traffic,
            requests,
            self.method,
            k,
            acceptance,
            self.limits,
            self.seed,
        )

    def calm(self, ks: Iterable[int]) -> int:
        """Return the draft length of the least latency where requests come one at a time."""
        return min(ks, key=lambda k: (self.load(1, k).mean_latency, k))


def _best(rate: float, served: Mapping[int, Served], trials: _Trials) -> int:
    """Return the draft length to use at a rate; see `RatePlan.k`."""
    steady = [k for k in served if trials.saturates(k) > rate]
    if not steady:
        return max(served, key=trials.saturates)
    best = min(steady, key=lambda k: (served[k].mean_latency, k))
    gains = 0 not in steady or served[best].mean_latency < (1 - TIE) * served[0].mean_latency
    return best if gains else 0


def _changes(trials: _Trials, ks: Iterable[int], saturates: float) -> tuple[tuple[float, int], ...]:
    """Return where the choice among some draft lengths changes; see `RatePlan.changes`."""

    def best(rate: float) -> int:
        return _best(rate, {k: trials.at(rate, k, SCANNED) for k in ks}, trials)

    rates = np.geomspace(saturates / 16, saturates * 0.98, RATES).tolist()
    chosen = [best(rate) for rate in rates]
    found = [(rates[0], chosen[0])]
    for low, high, before, after in zip(rates, rates[1:], chosen, chosen[1:], strict=False):
        if before == after:
            continue
        for _ in range(HALVINGS):
            middle = (low * high) ** 0.5
            if best(middle) == before:
                low = middle
            else:
                high = middle
        found.append((high, after))
    return tuple(found)
