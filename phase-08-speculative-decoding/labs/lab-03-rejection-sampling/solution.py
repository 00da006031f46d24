"""Lab 03, solved: rejection sampling that keeps the target's law.

V is the size of the vocabulary; p is the target's law of the next token, q the drafter's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Law = NDArray[np.float64]
Laws = Callable[[tuple[int, ...]], Law]
"""A text's tokens → the law of the next one."""


def race(law: Law, noise: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw tokens: each runs against its own noise, and the first one home is drawn. Given.

    If every noise is exponential and independent, token i wins with probability law[i].

    Args:
        law: [V], non-negative, with a positive sum.
        noise: [..., V] from `rng.exponential`.

    Returns:
        [...] token ids.
    """
    with np.errstate(divide="ignore"):
        tokens: NDArray[np.int64] = np.argmin(noise / law, axis=-1)
    return tokens


def total_variation(law: Law, tokens: NDArray[np.int64]) -> float:
    """Return the distance of drawn tokens from a law: half the sum of differences. Given.

    Args:
        law: [V].
        tokens: [N] token ids.
    """
    shares = np.bincount(tokens, minlength=len(law)) / len(tokens)
    return float(np.abs(shares - law).sum() / 2)


def accept_probability(p: Law, q: Law) -> Law:
    """Return with which probability a draft of each token stands: min(1, p/q).

    Args:
        p, q: [V].

    Returns:
        [V]; 1 where q is 0, which is never drafted.
    """
    return np.minimum(1, np.divide(p, q, out=np.ones_like(p), where=q > 0))


def residual(p: Law, q: Law) -> Law:
    """Return the law to draw from after a rejection: what p has more than q, normalised.

    Args:
        p, q: [V].

    Returns:
        [V], sums to 1; p itself where p equals q, for then nothing is ever rejected.
    """
    more = np.maximum(p - q, 0)
    total = more.sum()
    return more / total if total > 0 else p


def acceptance_rate(p: Law, q: Law) -> float:
    """Return α, the share of drafts that stand: the overlap of both laws, Σ min(p, q)."""
    return float(np.minimum(p, q).sum())


def draw(
    p: Law, q: Law, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw tokens through the drafter, many at once.

    Args:
        p, q: [V].
        count: of tokens, N.
        rng: every decision takes noise of its own from it.

    Returns:
        [N] token ids, and [N] whether the draft stood.
    """
    draft = race(q, rng.exponential(size=(count, len(q))))
    accepted = rng.random(count) < accept_probability(p, q)[draft]
    recovered = race(residual(p, q), rng.exponential(size=(count, len(p))))
    return np.where(accepted, draft, recovered), accepted


def tolerance(law: Law, count: int, rng: np.random.Generator, trials: int = 2000) -> float:
    """Return how far honest draws stray from a law: the largest distance in `trials` samples.

    Args:
        law: [V].
        count: of tokens in a sample.
        rng: draws the samples.
        trials: an honest sample is accused about once in so many.

    Returns:
        A total variation.
    """
    shares = rng.multinomial(count, law, size=trials) / count
    return float((np.abs(shares - law).sum(axis=1) / 2).max())


def draw_round(target: Laws, drafter: Laws, k: int, rng: np.random.Generator) -> list[int]:
    """Draft k tokens, verify them, and return what stands and one token more.

    Args:
        target, drafter: laws of the next token behind the draft tokens so far.
        k: draft length; 0 is plain decoding.
        rng: every decision takes noise of its own from it.

    Returns:
        1 to k + 1 tokens; the last one is the recovered token after a rejection, or the bonus
        token where the whole draft stands.
    """
    draft: list[int] = []
    while len(draft) < k:
        q = drafter(tuple(draft))
        draft.append(int(race(q, rng.exponential(size=len(q)))))
    for place, token in enumerate(draft):
        before = tuple(draft[:place])
        p, q = target(before), drafter(before)
        if rng.random() >= accept_probability(p, q)[token]:
            law = residual(p, q)
            return [*before, int(race(law, rng.exponential(size=len(law))))]
    p = target(tuple(draft))
    return [*draft, int(race(p, rng.exponential(size=len(p))))]


def main() -> None:
    """Show that the law stays, whatever the drafter."""
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.2])
    print("drafter           α      distance   honest up to")
    for q in ([0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.1, 0.8], [0.0, 0.0, 1.0]):
        law = np.array(q)
        tokens, _ = draw(p, law, 200_000, rng)
        print(
            f"{', '.join(f'{x:.2f}' for x in q)}  {acceptance_rate(p, law):.3f}  "
            f"{total_variation(p, tokens):.5f}    {tolerance(p, 200_000, rng):.5f}"
        )


if __name__ == "__main__":
    main()
