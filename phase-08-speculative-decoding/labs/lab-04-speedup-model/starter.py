"""Lab 04: what speculation is worth, from two measured numbers. Five TODOs, in this order.

Grade yourself:
LAB_IMPL=starter pytest phase-08-speculative-decoding/labs/lab-04-speedup-model -q

α is the chance that a draft token stands, if those before it do; c is what drafting a token costs,
as a share of one run of the target; k is how many are drafted.
"""

from __future__ import annotations


def expected_tokens_per_verify(alpha: float, k: int) -> float:
    """Return E, the tokens that one run of the target gives on average.

    1 + α + α² + … + αᵏ = (1 − αᵏ⁺¹) / (1 − α): one for the token after the draft, and αⁱ for draft
    token i, which stands only if all before it do (Leviathan et al. 2023, equation 1).

    Args:
        alpha: in [0, 1].
        k: draft length, 0 or more.
    """
    raise NotImplementedError(
        "TODO 1, expected_tokens_per_verify: return 1 + α + α² + … + αᵏ; mind α = 1 if you divide"
    )


def speedup(alpha: float, c: float, k: int) -> float:
    """Return how many times faster text comes than without speculation: E / (k·c + 1).

    Args:
        alpha, k: as in `expected_tokens_per_verify`.
        c: draft cost, 0 or more.
    """
    raise NotImplementedError(
        "TODO 2, speedup: return the expected tokens over the cost of a round, k drafts and one run"
    )


def optimal_k(alpha: float, c: float, k_max: int = 16) -> int:
    """Return the draft length with the highest speedup; 0 means "turn it off".

    Args:
        alpha, c: as in `speedup`.
        k_max: longest draft to consider.

    Returns:
        The shortest of equals.
    """
    raise NotImplementedError(
        "TODO 3, optimal_k: try every k from 0 to k_max, and return the shortest of the best"
    )


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
    raise NotImplementedError(
        "TODO 4, alpha_from_counters: of the drafted tokens, which were tested? Return the share "
        "of those that stood"
    )


def wrong_speedup(alpha: float, k: int) -> float:
    """Return what a public lab gives out as the speedup of a free drafter. Given; it is wrong."""
    return k / (1 + (1 - alpha) * k)


def most_misleading_alpha(k: int) -> float:
    """Return the α, to three decimals, at which `wrong_speedup` is off by the largest factor.

    Args:
        k: draft length, 1 or more.
    """
    raise NotImplementedError(
        "TODO 5, most_misleading_alpha: try α = 0, 0.001, …, 1, and return the one at which "
        "wrong_speedup and speedup at c = 0 are furthest apart as a ratio"
    )


def main() -> None:
    """Print speedup against k."""
    for c in (0.05, 0.3):
        print(f"speedup at c = {c}, by k")
        print("   α   " + "".join(f"{k:6}" for k in range(9)) + "    k*")
        for alpha in (0.3, 0.5, 0.7, 0.9):
            row = "".join(f"{speedup(alpha, c, k):6.2f}" for k in range(9))
            print(f"  {alpha:.1f}  {row}  {optimal_k(alpha, c):4}")


if __name__ == "__main__":
    main()
