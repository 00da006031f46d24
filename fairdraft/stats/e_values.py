"""E-values: evidence against a law that may be looked at after every draw.

An e-value is a martingale that starts at 1 while the law holds, so by Ville's inequality it ever
exceeds 1/p with probability p at most, however often one looks and whenever one stops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fairdraft.stats.goodness import aligned

E_VALUE_LIMIT = 1e6  # false alarms at most once in a million sequences, however often one looks


def log_e_value(counts: npt.ArrayLike, law: npt.ArrayLike, weight: float = 200.0) -> float:
    """Return the log of a Dirichlet-multinomial e-value against the law.

    The likelihood of the draws under a Dirichlet mixture around the law, over their likelihood
    under the law. Under the law it is a martingale that starts at 1, so by Ville's inequality it
    ever exceeds 10⁶ with probability 10⁻⁶ at most: one may look after every draw and stop at will.

    Args:
        counts: [C] so far.
        law: [C], sums to 1.
        weight: draws that the mixture's centre is worth; larger sees smaller differences later.
    """
    from scipy.special import gammaln

    counted, _ = aligned(counts, law)
    p = np.asarray(law, np.float64)
    if counted[p == 0].any():
        return float("inf")
    counted, p = counted[p > 0], p[p > 0]
    prior = weight * p
    mixture = gammaln(weight) - gammaln(weight + counted.sum())
    mixture += float((gammaln(prior + counted) - gammaln(prior)).sum())
    return float(mixture - (counted * np.log(p)).sum())
