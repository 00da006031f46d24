"""Exercise 7: tokens per run from α and k, and back."""

from __future__ import annotations

from shared import show

from fairdraft.economics import expected_tokens_per_verify
from fairdraft.economics.equations.cost import ceiling
from fairdraft.economics.equations.estimators import alpha_of_length

ALPHAS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
LENGTHS = (1, 2, 3, 4, 5, 8, 16)


def main() -> None:
    """Print the table, the sum by hand at one place, and the way back."""
    print("tokens per run E = (1 − α^(k+1)) / (1 − α), the token behind the draft included\n")
    show(
        ("α", *(f"k={k}" for k in LENGTHS), "ceiling"),
        [
            (
                f"{alpha}",
                *(f"{expected_tokens_per_verify(alpha, k):.2f}" for k in LENGTHS),
                f"{ceiling(alpha):.2f}",
            )
            for alpha in ALPHAS
        ],
    )
    alpha, k = 0.8, 4
    terms = [alpha**place for place in range(k + 1)]
    print(f"\nα = {alpha}, k = {k}: {' + '.join(f'{term:g}' for term in terms)} = {sum(terms):g}")
    print(f"a fifth draft token adds α^5 = {alpha**5:.3f}; a ninth would add {alpha**9:.3f}")
    print(f"3 tokens per run at k = 4 need α = {alpha_of_length(3.0, 4):.3f}")
    print(f"3 tokens per run at k = 8 need α = {alpha_of_length(3.0, 8):.3f}")
    print("\naccepted / drafted, (E − 1) / k, of the same α = 0.8")
    for k in (1, 2, 4, 8):
        print(f"  k = {k}: {(expected_tokens_per_verify(0.8, k) - 1) / k:.2f}")


if __name__ == "__main__":
    main()
