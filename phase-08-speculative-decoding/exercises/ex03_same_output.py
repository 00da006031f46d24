"""Exercise 3: the output is unchanged, greedy over every draft and sampled on exact fractions."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from shared import show

from fairdraft.draft import Draft
from fairdraft.proof.cases import STOPS, drawn_round
from fairdraft.proof.exact import World, law_of, law_of_output, said, total_variation
from fairdraft.proof.mutants import mutants
from fairdraft.verification import match, standard

K = 3


def greedy(world: World) -> None:
    """Verify every draft of K tokens, of a vocabulary of 3, against the likeliest tokens."""
    plain: tuple[int, ...] = ()
    for _ in range(K + 1):
        plain = (*plain, int(np.argmax(world.target[plain])))
    gained = Counter[int]()
    for tokens in itertools.product(range(3), repeat=K):
        draft = Draft(tokens)
        likeliest = [int(np.argmax(law)) for law in world.rows(draft)]
        text = said(match(draft, likeliest.__getitem__), draft)
        assert text == plain[: len(text)]
        gained[len(text)] += 1
    print(f"greedy: plain decoding says {plain}; so do rounds with each of {gained.total()} drafts")
    for length, drafts in sorted(gained.items()):
        print(f"  {drafts:2} of them give {length} token{'s' * (length > 1)}")


def sampled() -> None:
    """Split a token's probability into accepted and recovered, then enumerate whole rounds."""
    p, q = law_of(5, 3, 2), law_of(2, 2, 6)
    accepted = np.minimum(p, q)
    alpha = accepted.sum()
    residual = (p - accepted) / (1 - alpha)
    print("\nsampled: one token, on fractions")
    show(
        ("token", "p", "q", "drafted and accepted", "residual", "recovered", "comes out"),
        [
            (i, p[i], q[i], accepted[i], residual[i], (1 - alpha) * residual[i],
             accepted[i] + (1 - alpha) * residual[i])
            for i in range(3)
        ],
    )  # fmt: skip
    print(f"  acceptance rate α = {alpha}")
    play = drawn_round(standard, STOPS["at k"])
    world = World.constant(p, q, K)
    law = law_of_output(world, K, play)
    print(f"\nrounds of {K} drafted tokens, every draft and every decision: {len(law)} texts")
    print(f"  distance to the target's law: {total_variation(world, K, play)}")
    print("\nthe same with a mistake in it")
    for mutant in mutants()[:3]:
        print(f"  {mutant.name}: {float(mutant.total_variation()):.3f}")


def main() -> None:
    """Show both."""
    greedy(World.random(5, K, zeros=False))
    sampled()


if __name__ == "__main__":
    main()
