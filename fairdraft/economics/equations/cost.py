"""Costs of a round, and so how long a draft is worth its while.

Costs are in target runs of one row a request, unless they say seconds. A round of k drafts takes

    T(k) = draft(k) + verify(k),   T(0) = 1,   speedup S(k) = E(k) / T(k)

and the best k is found by trying every one: real costs are staircases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairdraft.economics.equations.acceptance import expected_tokens
from fairdraft.economics.equations.best_k import best_k
from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]


def linear_cost(c: float, k: int, growth: float = 0.0, fixed: float = 0.0) -> FloatArray:
    """Return the cost of a round, T(k) = 1 + d₀·[k > 0] + (c + λ)·k: [k + 1].

    Valid while the run stays memory-bound: below the knee of the roofline.

    Args:
        c: of drafting one token.
        k: longest draft.
        growth: λ, what verifying one more token adds.
        fixed: d₀, of drafting at all: catching up, launching, copying.
    """
    for name, value in (("c", c), ("growth", growth), ("fixed", fixed)):
        _require_cost(name, value)
    lengths = np.arange(k + 1.0)
    return 1 + fixed * (lengths > 0) + (c + growth) * lengths


def block_cost(block: float, k: int, growth: float = 0.0) -> FloatArray:
    """Return the cost of a round drafted in one pass (DFlash, Medusa, lookups): [k + 1].

    Args:
        block: of the pass, however much of it is used.
        k: longest draft.
        growth: λ.
    """
    return linear_cost(0.0, k, growth, block)


def measured_cost(draft: ArrayLike, verify: ArrayLike) -> FloatArray:
    """Return the cost of a round from times that were measured apart: [k + 1].

    Args:
        draft: [k + 1] seconds to make a draft of each length; the first is 0.
        verify: [k + 1] seconds of a run with that many drafts a request; the first is a plain run.

    Raises:
        ConfigError: other shapes, or times that are not above 0.
    """
    drafts, runs = np.asarray(draft, dtype=np.float64), np.asarray(verify, dtype=np.float64)
    if drafts.shape != runs.shape or drafts.ndim != 1 or not len(runs):
        raise ConfigError(
            f"draft times have shape {drafts.shape} and verify times {runs.shape}: give one of "
            "each for every k from 0 on"
        )
    if not np.all(runs > 0) or not np.all(drafts >= 0) or drafts[0] != 0:
        raise ConfigError("times must be positive seconds, and drafting nothing takes none")
    found: FloatArray = (drafts + runs) / runs[0]
    return found


def speedups(survivals: ArrayLike, costs: ArrayLike) -> FloatArray:
    """Return the speedups S(k) = E(k) / T(k): [k + 1].

    Args:
        survivals: [k].
        costs: [k + 1], T(0) … T(k).
    """
    tokens, times = expected_tokens(survivals), np.asarray(costs, dtype=np.float64)
    if tokens.shape != times.shape:
        raise ConfigError(
            f"there are {len(tokens) - 1} survivals and {times.size} costs: give a cost for each "
            "draft length from 0 on"
        )
    found: FloatArray = tokens / times
    return found


def break_even_length(baseline: float, step: float) -> float:
    """Return the mean acceptance length (bonus included) from which on speculation pays.

    Above k + 1 no drafter can pay at that k, however good.

    Args:
        baseline: seconds a token takes without speculation: of a plain step.
        step: seconds of a step with speculation, drafting included.
    """
    for name, value in (("baseline", baseline), ("step", step)):
        if not value > 0:
            raise ConfigError(f"{name} is {value}, but a step takes more than 0 seconds")
    return step / baseline


def ceiling(alpha: float) -> float:
    """Return 1 / (1 − α), a speedup that no draft length gets past; infinite at α = 1."""
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha is {alpha}, but must be in [0, 1]: pass 0.7 for 70%")
    return float("inf") if alpha == 1 else 1 / (1 - alpha)


def expected_experts(experts: int, active: int, tokens: ArrayLike) -> FloatArray:
    """Return how many experts of a MoE layer tokens wake: E·(1 − (1 − K/E)^t).

    Valid where tokens choose independently and evenly; real routers are skewed, so this is the
    upper end. A run reads the weights of all of them: verification is dear at small batch.

    Args:
        experts: E, in the layer.
        active: K, chosen by each token.
        tokens: t, any shape.
    """
    if not 0 < active <= experts:
        raise ConfigError(f"active is {active}, but must be from 1 to the {experts} experts")
    found: FloatArray = experts * (1 - (1 - active / experts) ** np.asarray(tokens, np.float64))
    return found


@dataclass(frozen=True)
class Roofline:
    """Roofline model of a run: its seconds, from a machine's and a model's figures.

    T = o + max((W + B·L·κ) / bandwidth, (2·P·n + attention) / FLOPS), with attention
    4·B·(n/B)·L·H for H = query heads × their size × layers.

    Args:
        bandwidth: bytes a second.
        flops: operations a second.
        weight_bytes: W, read by each run.
        parameters: P, each multiplied once a token.
        kv_bytes: κ, of one token of context.
        attention_size: H.
        overhead: o, seconds.
    """

    bandwidth: float
    flops: float
    weight_bytes: float
    parameters: float
    kv_bytes: float = 0.0
    attention_size: float = 0.0
    overhead: float = 0.0

    def seconds(self, requests: int, rows: int, context: int) -> float:
        """Return the seconds of a run.

        Args:
            requests: B.
            rows: of each: 1, or k + 1.
            context: L, tokens of each.
        """
        memory = (self.weight_bytes + requests * context * self.kv_bytes) / self.bandwidth
        work = 2 * self.parameters + 4 * context * self.attention_size
        return self.overhead + max(memory, requests * rows * work / self.flops)

    @property
    def knee(self) -> float:
        """Rows from which on a run without context is bound by arithmetic."""
        return self.weight_bytes * self.flops / (2 * self.parameters * self.bandwidth)

    def costs(self, requests: int, context: int, k: int, c: float) -> FloatArray:
        """Return the cost of a round beside a drafter whose token costs c plain runs: [k + 1]."""
        runs = np.array([self.seconds(requests, 1 + i, context) for i in range(k + 1)])
        found: FloatArray = runs / runs[0] + c * np.arange(k + 1)
        return found

    def saturation(self, alpha: float, c: float, context: int, most: int = 4096) -> int | None:
        """Return the smallest number of requests at which no draft pays any more, or None.

        Speculation lives on runs that are memory-bound; enough requests leave no room for it.
        """
        for requests in range(1, most + 1):
            if not best_k(speedups([alpha], self.costs(requests, context, 1, c))):
                return requests
        return None


def goodput(tokens: ArrayLike, seconds: ArrayLike, requests: int, limit: float) -> FloatArray:
    """Return tokens a second of all requests together, 0 where a token is later than the limit.

    Args:
        tokens: [k + 1] expected tokens per run.
        seconds: [k + 1] of a round.
        requests: that run side by side.
        limit: TPOT, seconds a token of one request may take.
    """
    _require_cost("limit", limit)
    each = np.asarray(seconds, np.float64) / np.asarray(tokens, np.float64)
    found: FloatArray = np.where(each <= limit, requests / each, 0.0)
    return found


def dollars_per_million(price_per_hour: float, tokens_per_second: float) -> float:
    """Return the dollars of a million tokens on a machine of that price."""
    _require_cost("price_per_hour", price_per_hour)
    if not tokens_per_second > 0:
        raise ConfigError(f"tokens_per_second is {tokens_per_second}, but must be above 0")
    return price_per_hour / 3600 / tokens_per_second * 1e6


def _require_cost(name: str, value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise ConfigError(f"{name} is {value}, but must be finite and not negative")
