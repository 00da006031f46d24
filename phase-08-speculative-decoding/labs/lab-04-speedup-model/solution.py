"""Lab 04, solved: what speculation is worth, from two measured numbers.

α is the chance that a draft token stands, if those before it do; c is what drafting a token costs,
as a share of one run of the target; k is how many are drafted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expected_tokens_per_verify(alpha: float, k: int) -> float:
    """Return E, the tokens that one run of the target gives on average.

    1 + α + α² + … + αᵏ = (1 − αᵏ⁺¹) / (1 − α): one for the token after the draft, and αⁱ for draft
    token i, which stands only if all before it do (Leviathan et al. 2023, equation 1).

    Args:
        alpha: in [0, 1].
        k: draft length, 0 or more.
    """
    return k + 1.0 if alpha == 1 else (1 - alpha ** (k + 1)) / (1 - alpha)


def speedup(alpha: float, c: float, k: int) -> float:
    """Return how many times faster text comes than without speculation: E / (k·c + 1).

    Args:
        alpha, k: as in `expected_tokens_per_verify`.
        c: draft cost, 0 or more.
    """
    return expected_tokens_per_verify(alpha, k) / (k * c + 1)


def optimal_k(alpha: float, c: float, k_max: int = 16) -> int:
    """Return the draft length with the highest speedup; 0 means "turn it off".

    Args:
        alpha, c: as in `speedup`.
        k_max: longest draft to consider.

    Returns:
        The shortest of equals.
    """
    return max(range(k_max + 1), key=lambda k: (speedup(alpha, c, k), -k))


def alpha_from_counters(num_drafted: int, num_accepted: int, num_rejections: int) -> float:
    """Return α from what an engine counted.

    A round tests its accepted tokens and the first rejected one. What was drafted behind a
    rejection was never tested, and tells nothing.

    Args:
        num_drafted: draft tokens.
        num_accepted: of them, those that stood.
        num_rejections: rounds that ended in a rejection; in the others the whole draft stood.

    Returns:
        Accepted / tested; 0 before the first test.
    """
    tested = num_accepted + num_rejections
    return num_accepted / tested if tested else 0.0


def wrong_speedup(alpha: float, k: int) -> float:
    """Return what a public lab gives out as the speedup of a free drafter. Given; it is wrong."""
    return k / (1 + (1 - alpha) * k)


def most_misleading_alpha(k: int) -> float:
    """Return the α, to three decimals, at which `wrong_speedup` is off by the largest factor.

    Args:
        k: draft length, 1 or more.
    """
    grid = [i / 1000 for i in range(1001)]
    return max(grid, key=lambda alpha: abs(np.log(wrong_speedup(alpha, k) / speedup(alpha, 0, k))))


# Going further: what the two numbers leave out.


def saturated_speedup(alpha: float, c: float, k: int, lam: float) -> float:
    """Return the speedup where verification grows with its rows: E / (k·c + 1 + λ·k).

    Args:
        alpha, c, k: as in `speedup`.
        lam: λ, what each further row costs, as a share of a run without drafts. Near 0 where the
            run waits for memory; near the share of its compute that is in use where it does not.
    """
    return expected_tokens_per_verify(alpha, k) / (k * c + 1 + lam * k)


def limit_of_lambda(alpha: float, c: float) -> float:
    """Return the λ from which on no draft pays.

    k = 1 pays if (1 + α) / (1 + c + λ) > 1, that is if α > c + λ. If it does not, no longer draft
    does: each further token adds less than the one before it and costs as much.

    Args:
        alpha, c: as in `speedup`.
    """
    return max(alpha - c, 0.0)


def length_law(
    alphas: NDArray[np.float64],
    transitions: NDArray[np.float64],
    start: NDArray[np.float64],
    k: int,
) -> NDArray[np.float64]:
    """Return the law of the tokens that a run gives, if α depends on a hidden state of the text.

    Args:
        alphas: [S], α in each state, such as "copies" and "does not".
        transitions: [S, S], from row to column, token by token.
        start: [S], the law of the state at the start of a round.
        k: draft length.

    Returns:
        [k + 1]: entry i is the chance of i + 1 tokens.
    """
    law = np.zeros(k + 1)
    alive = start.copy()  # the chance to get here with this state
    for length in range(k):
        law[length] = (alive * (1 - alphas)).sum()
        alive = (alive * alphas) @ transitions
    law[k] = alive.sum()
    return law


def fit_alpha(mean: float, k: int) -> float:
    """Return the α of one state alone that gives this mean, by bisection.

    Args:
        mean: tokens a run, from 1 to k + 1.
        k: draft length.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if expected_tokens_per_verify(middle, k) < mean:
            low = middle
        else:
            high = middle
    return low


def main() -> None:
    """Print speedup against k, where it stops paying, and what one state hides."""
    for c in (0.05, 0.3):
        print(f"speedup at c = {c}, by k")
        print("   α   " + "".join(f"{k:6}" for k in range(9)) + "    k*")
        for alpha in (0.3, 0.5, 0.7, 0.9):
            row = "".join(f"{speedup(alpha, c, k):6.2f}" for k in range(9))
            print(f"  {alpha:.1f}  {row}  {optimal_k(alpha, c):4}")
    print("\nλ from which on k* is 0, at c = 0.05")
    for alpha in (0.3, 0.5, 0.7, 0.9):
        print(f"  α = {alpha}: {limit_of_lambda(alpha, 0.05):.2f}")
    k, alphas = 8, np.array([0.95, 0.2])
    transitions = np.array([[0.9, 0.1], [0.1, 0.9]])
    law = length_law(alphas, transitions, np.array([0.5, 0.5]), k)
    lengths = np.arange(1, k + 2)
    mean = float((law * lengths).sum())
    alpha = fit_alpha(mean, k)
    one = length_law(np.array([alpha]), np.eye(1), np.ones(1), k)
    print(f"\ntwo states (α .95 and .2), and one state of the same mean (α {alpha:.3f}), k = {k}")
    for name, each in (("two states", law), ("one state", one)):
        mean = float((each * lengths).sum())
        variance = float((each * lengths**2).sum() - mean**2)
        print(
            f"  {name:10}  mean {mean:.2f}, variance {variance:.2f}, "
            f"one token {each[0]:.2f}, all {k + 1} {each[-1]:.2f}"
        )


if __name__ == "__main__":
    main()
