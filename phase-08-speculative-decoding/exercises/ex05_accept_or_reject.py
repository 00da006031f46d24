"""Exercise 5: one round of rejection sampling, by the engine's own rule, on exact fractions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction

from shared import show

from fairdraft.draft import Draft
from fairdraft.proof.exact import Law, Script, Text, every_course, law_of, said
from fairdraft.verification import match, standard

P = [law_of(5, 3, 2), law_of(1, 5, 4), law_of(3, 3, 4)]  # the target's law in each row
Q = [law_of(2, 5, 3), law_of(5, 3, 2)]  # the drafter's law of each draft token
DRAFT = Draft((0, 0), probs=Q)


class Asked:
    """Decides a round as it is told, and prints what the rule asks.

    Args:
        answers: whether each draft token is accepted, in order.
    """

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)

    def accept(self, node: int, probability: Fraction) -> bool:
        """Answer whether a draft token is accepted."""
        answer = self.answers.pop(0)
        chance = min(Fraction(1), probability)
        outcome = "accepted" if answer else "rejected"
        print(f"  draft token {node + 1}: p/q = {probability}, accept with {chance}: {outcome}")
        return answer

    def token(self, row: int, law: Law) -> int:
        """Say from which law the token behind comes, and draw its likeliest."""
        print(f"  token behind: from row {row}, law {listed(law)}")
        return max(range(len(law)), key=lambda token: law[token])


def listed(law: Law) -> str:
    """Return a law as text."""
    return ", ".join(map(str, law))


def drawn_round(script: Script) -> Text:
    """Draw two tokens, verify them, and return what the round gives."""
    draft = Draft(tuple(script.token(i, q) for i, q in enumerate(Q)), probs=Q)
    return said(standard(P, draft, script), draft)


def first_token(play: Callable[[Script], Text]) -> str:
    """Return the law of the first token that a round gives, over all its courses, as text."""
    law: defaultdict[int, Fraction] = defaultdict(Fraction)
    for weight, text in every_course(play):
        law[text[0]] += weight
    return listed([law[token] for token in range(3)])


def main() -> None:
    """Print a round both ways, all that can come of its draft, and what all drafts come to."""
    laws, tokens = [*map(listed, Q), "-"], [*map(str, DRAFT.token_ids), "-"]
    show(
        ("row", "p", "q", "drafted"), zip("012", map(listed, P), laws, tokens, strict=True), left=3
    )
    for answers in ((True, False), (True, True)):
        print(f"\nif the second token is {'accepted' if answers[1] else 'rejected'}")
        standard(P, DRAFT, Asked(*answers))
    print("\nall that can come of this draft, and how often")
    for weight, text in every_course(lambda script: said(standard(P, DRAFT, script), DRAFT)):
        print(f"  tokens {text}: {weight}")
    print("\nlaw of the first token, over all drafts")
    print(f"  comes out  {first_token(drawn_round)}")
    print(f"  target's   {listed(P[0])}")

    sure, chosen = Draft((0,), probs=[law_of(1, 0, 0)]), Draft((0,))
    print("\nlaw of the first token where token 0 is chosen, not drawn: q = 1")
    print(f"  rejection sampling  {first_token(lambda s: said(standard(P, sure, s), sure))}")
    matched = first_token(lambda s: said(match(chosen, lambda row: s.token(row, P[row])), chosen))
    print(f"  sample and match    {matched}")


if __name__ == "__main__":
    main()
