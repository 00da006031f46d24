"""Models of acceptance: how many drafted tokens stand, and what follows from that.

A model gives survivals S_1 ≥ S_2 ≥ …: S_j is the probability that the first j tokens of a draft
stand. What a round is worth follows from them alone:

    E(k) = 1 + S_1 + … + S_k   tokens per target run, the bonus or recovered token included
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]


def require_survivals(values: ArrayLike) -> FloatArray:
    """Return survivals as an array, checked.

    Args:
        values: [k], from 1 down to 0 and never rising.

    Raises:
        ConfigError: they are something else.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.all((found >= 0) & (found <= 1)):
        raise ConfigError(f"survivals are {values!r}, but must be a list of numbers in [0, 1]")
    if np.any(np.diff(found) > 1e-12):
        raise ConfigError(
            f"survivals are {found.tolist()}, but must not rise: S_j is the share of rounds in "
            "which the first j tokens all stand, not the acceptance of token j by itself"
        )
    return found


def expected_tokens(survivals: ArrayLike) -> FloatArray:
    """Return E(0) … E(k), expected tokens per target run for each draft length: [k + 1].

    Args:
        survivals: [k].
    """
    return 1 + np.concatenate([[0.0], np.cumsum(require_survivals(survivals))])


def constant(alpha: float, k: int) -> FloatArray:
    """Return the survivals α^j where all tokens are accepted with one rate, independently: [k].

    Leviathan et al. 2023 (arXiv 2211.17192). Valid where neither position nor what was accepted
    before says anything about the next token.
    """
    _require_rate("alpha", alpha)
    found: FloatArray = np.full(k, float(alpha)).cumprod()
    return found


def conditional(rates: ArrayLike) -> FloatArray:
    """Return survivals from the acceptance of each position, given that those before stood: [k]."""
    found = np.asarray(rates, dtype=np.float64)
    for i, rate in enumerate(found.ravel()):
        _require_rate(f"the rate of position {i + 1}", float(rate))
    survivals: FloatArray = found.cumprod()
    return survivals


def _require_rate(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value}, but must be in [0, 1]: pass 0.7 for 70%")


@dataclass(frozen=True)
class TwoState:
    """Acceptance with memory: inside a phrase tokens are easy, at its boundary they are not.

    Before each drafted token the text is in one of two states; the token is accepted with that
    state's rate, and the state moves on:

        E = 1 + Σ_{j=1..k} π D (P D)^{j−1} 1,   D = diag(α)

    π is the law at the *start of a round*, not the stationary one: a round begins behind a token
    that the drafter got wrong, or behind a whole accepted draft.

    Args:
        rates: acceptance in a phrase, and at a boundary.
        stay: probability of staying in a phrase, and of staying at a boundary.
        start: probability that a round begins in a phrase.
    """

    rates: tuple[float, float]
    stay: tuple[float, float]
    start: float

    def __post_init__(self) -> None:
        for name, value in zip(
            ("rates[0]", "rates[1]", "stay[0]", "stay[1]", "start"),
            (*self.rates, *self.stay, self.start),
            strict=True,
        ):
            _require_rate(name, value)

    @property
    def transition(self) -> FloatArray:
        """P, the law of the state before the next token given that before this one: [2, 2]."""
        (phrase, boundary) = self.stay
        return np.array([[phrase, 1 - phrase], [1 - boundary, boundary]])

    def survivals(self, k: int) -> FloatArray:
        """Return the survivals S_j = π D (P D)^{j−1} 1: [k]."""
        accepted = np.diag(self.rates)
        law = np.array([self.start, 1 - self.start]) @ accepted
        found = []
        for _ in range(k):
            found.append(law.sum())
            law = law @ self.transition @ accepted
        return np.array(found)

    def moments(self, k: int) -> tuple[float, float]:
        """Return mean and variance of the tokens of a round with k drafts."""
        survivals = self.survivals(k)
        # E[N²] = Σ (2j − 1) P(N ≥ j) for the accepted tokens N.
        mean = float(survivals.sum())
        square = float(((2 * np.arange(1, k + 1) - 1) * survivals).sum())
        return 1 + mean, square - mean**2


def tree_tokens(parents: Sequence[int], rates: Sequence[float]) -> float:
    """Return the expected tokens of a run that verifies a tree.

    Siblings exclude each other: node i stands, given that its parent does, with rates[i], and the
    rates of siblings add up to at most 1. E = 1 + Σ_nodes Π of the rates on its path (Chen et al.
    2024, "Sequoia", arXiv 2402.12374, section 3.1).

    Args:
        parents: parents[i] < i is the node before node i, −1 at the root.
        rates: of each node, given its parent.

    Raises:
        ConfigError: the lists differ in length, a parent comes after its child, or siblings' rates
            add up to more than 1.
    """
    if len(parents) != len(rates):
        raise ConfigError(f"there are {len(parents)} parents and {len(rates)} rates: one each")
    reached: list[float] = []
    shares: dict[int, float] = {}
    for node, (parent, rate) in enumerate(zip(parents, rates, strict=True)):
        _require_rate(f"the rate of node {node}", rate)
        if not -1 <= parent < node:
            raise ConfigError(
                f"node {node} has parent {parent}: parents come first, -1 is the root"
            )
        shares[parent] = shares.get(parent, 0.0) + rate
        if shares[parent] > 1 + 1e-9:
            raise ConfigError(
                f"the children of node {parent} stand with {shares[parent]:.3f} together, but only "
                "one of them can: lower their rates"
            )
        reached.append(rate * (reached[parent] if parent >= 0 else 1.0))
    return 1 + sum(reached)
