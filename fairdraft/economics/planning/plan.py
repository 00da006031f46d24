"""Plans: priced draft lengths, the choice at each load, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import dollars_per_million
from fairdraft.economics.equations.estimators import alpha_of_length
from fairdraft.economics.planning.served import Served
from fairdraft.economics.planning.thresholds import Threshold
from fairdraft.peers.drafting import Drafting
from fairdraft.stats import Estimate

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """A draft length at a load, priced.

    Args:
        method: who drafts.
        requests: side by side.
        k: draft length, 0 without speculation.
        measured: whether its step and its acceptance lie within what was measured.
        tokens: a step and request.
        length: mean acceptance length as it would be read, the bonus token included.
        step: seconds of a step.
        speedup: over no speculation at the same load.
        tokens_per_second: of all requests together.
        draws: of `tokens_per_second`, the estimate first.
        reading: seconds that prompts add to a token of a request; 0 where they are not priced.
        served: what a simulation of the traffic came to; None where prompts are not priced.
    """

    method: str
    requests: int
    k: int
    measured: bool
    tokens: float
    length: float
    step: float
    speedup: Estimate
    tokens_per_second: Estimate
    draws: FloatArray = field(repr=False, compare=False)
    reading: float = 0.0
    served: Served | None = field(default=None, repr=False, compare=False)

    @property
    def tpot(self) -> float:
        """Seconds that a token of one request takes, those before its first token left out."""
        if self.served is not None and len(self.served.inter_token):
            return float(self.served.inter_token.mean())
        return self.requests / self.tokens_per_second.value

    def goodput(self, limit: float) -> float:
        """Return tokens a second of all requests; 0 where a token takes longer than the limit."""
        return self.tokens_per_second.value if self.tpot <= limit else 0.0

    def dollars(self, price_per_hour: float) -> float:
        """Return the dollars of a million tokens, on a machine of that price."""
        return dollars_per_million(price_per_hour, self.tokens_per_second.value)


@dataclass(frozen=True)
class Choice:
    """The draft length to use at one load, and the bounds to watch.

    Args:
        cell: the one to use; its k is 0 for off.
        rivals: other draft lengths that the measurements cannot tell from it.
        below: what to do once the mean acceptance length, read at the cell's k, falls under a
            bound; none for off.
        above: for off, from which length on, read at its k, speculation would pay.
    """

    cell: Cell
    rivals: tuple[int, ...] = ()
    below: tuple[Threshold, ...] = ()
    above: Threshold | None = None

    @property
    def k(self) -> int:
        """The draft length to use; 0 is off."""
        return self.cell.k


@dataclass(frozen=True)
class Plan:
    """Priced cells and what follows from them.

    Args:
        methods: who may draft.
        ks: draft lengths above 0.
        concurrencies: loads.
        cells: by (method, requests, k), k = 0 among them; None where it was not measured.
        choices: by (method, requests); None where the load was not measured.
        notes: what the intervals leave out, each a sentence.
    """

    methods: tuple[str, ...]
    ks: tuple[int, ...]
    concurrencies: tuple[int, ...]
    cells: Mapping[tuple[str, int, int], Cell | None]
    choices: Mapping[tuple[str, int], Choice | None]
    notes: tuple[str, ...] = ()

    def schedule(self, method: str) -> dict[int, int]:
        """Return the chosen draft length by load, of the loads that were measured."""
        found = {n: self.choices[method, n] for n in self.concurrencies}
        return {n: choice.k for n, choice in found.items() if choice is not None}

    def static_k(self, method: str) -> int:
        """Return the one draft length with the best geometric mean of speedups over the loads.

        For engines that cannot change it with the load. 0, off, if no draft length gains, or none
        is chosen at any load.
        """
        if not any(self.schedule(method).values()):
            return 0
        loads = list(self.schedule(method))
        gains: dict[int, float] = {0: 0.0}
        for k in self.ks:
            cells = [self.cells[method, n, k] for n in loads]
            if all(cells):
                gains[k] = math.fsum(math.log(cell.speedup.value) for cell in cells if cell)
        return int(best_k(list(gains.values()), list(gains)))

    def drafting(self, method: str, drafter: str | None = None) -> Drafting:
        """Return what an engine is to be started with, for `peers.flags.paste_line`.

        Args:
            method: who drafts.
            drafter: the drafter's checkpoint, if the method needs one.
        """
        return Drafting(method, self.schedule(method), self.static_k(method), drafter)

    @property
    def best_method(self) -> str:
        """The method of the best geometric mean of chosen speedups, the first of equals."""

        def gain(method: str) -> float:
            chosen = [self.choices[method, n] for n in self.concurrencies]
            return math.fsum(math.log(c.cell.speedup.value) for c in chosen if c is not None)

        priced = [m for m in self.methods if self.schedule(m)]
        return max(priced or self.methods, key=gain)

    def plane(self, method: str, requests: int) -> tuple[float, float] | None:
        """Return where a method lies on the plane of `linear_cost` at a load; None: not measured.

        Returns:
            The α that gives its tokens a step, and c + λ, what one of its drafts adds to a step in
            plain steps: at the chosen draft length, the shortest priced if that is 0.
        """
        choice, off = self.choices[method, requests], self.cells[method, requests, 0]
        if choice is None or off is None:
            return None
        drafting = [self.cells[method, requests, k] for k in ((choice.k,) if choice.k else self.ks)]
        cell = next(cell for cell in drafting if cell is not None)
        return alpha_of_length(min(cell.tokens, cell.k + 1), cell.k), (
            cell.step / off.step - 1
        ) / cell.k

    def best_load(self, method: str, limit: float) -> Cell | None:
        """Return the chosen cell of most tokens a second under a TPOT limit (seconds), or None."""
        chosen = [self.choices[method, n] for n in self.concurrencies]
        cells = [c.cell for c in chosen if c is not None and c.cell.goodput(limit)]
        return max(cells, key=lambda cell: cell.goodput(limit), default=None)

    def best_load_off(self, limit: float) -> Cell | None:
        """Return the cell without speculation of most tokens a second under a limit, or None."""
        plain = [self.cells[self.methods[0], n, 0] for n in self.concurrencies]
        cells = [cell for cell in plain if cell is not None and cell.goodput(limit)]
        return max(cells, key=lambda cell: cell.goodput(limit), default=None)
