"""Random numbers of the made-up fleets: the same on every machine for the same seed."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NORMAL = NormalDist()


class Noise:
    """Random numbers that depend on the seed alone: uniform ones, and what is made of them."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def uniforms(self, *shape: int) -> Floats:
        """Draw an array from [0, 1)."""
        return self._generator.random(shape)

    def log_uniform(self, low: float, high: float) -> float:
        """Draw so that each factor is as likely as any other."""
        return float(low * (high / low) ** self.uniform())

    def normal(self, spread: float = 1.0) -> float:
        """Draw from a normal law around 0."""
        return spread * NORMAL.inv_cdf(max(self.uniform(), 1e-12))

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number from low to high, both included."""
        return int(self.uniform(low, high + 1))

    def chance(self, p: float) -> bool:
        """Draw whether something of probability p happens."""
        return self.uniform() < p
