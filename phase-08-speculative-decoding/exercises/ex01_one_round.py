"""Exercise 1: the rows of one verification run, and what each of them decides."""

from __future__ import annotations

from shared import show

from fairdraft.draft import Draft
from fairdraft.verification import match

TEXT = ("The", " capital", " of", " France", " is")
DRAFT = (" Paris", ".", " The")
# A target small enough to read: the token that it says behind each token.
TARGET = {" is": " Paris", " Paris": ".", ".": " It", " It": " lies", " The": " tower", "?": " It"}
WORDS = (*dict.fromkeys((*TEXT, *TARGET, *TARGET.values())),)


def verify(draft: tuple[str, ...]) -> tuple[int, list[str], str]:
    """Verify a draft of words.

    Returns:
        How many of them are accepted, what the target says in each row, and the token behind the
        accepted ones.
    """
    rows = [TARGET[word] for word in (TEXT[-1], *draft)]
    ids = Draft(tuple(WORDS.index(word) for word in draft))
    verdict = match(ids, lambda row: WORDS.index(rows[row]))
    return verdict.num_accepted, rows, WORDS[verdict.token]


def outcome(row: int, accepted: int, says: str) -> str:
    """Say what becomes of a row: of the draft token that it judges, or of its own token."""
    if row > accepted:
        return "computed, not used"
    if row < accepted:
        return "accepted"
    return f"rejected, {says!r} is recovered" if row < len(DRAFT) else f"{says!r} is the bonus"


def main() -> None:
    """Print one round row by row, then a round of each length."""
    accepted, rows, token = verify(DRAFT)
    print(f"text: {''.join(TEXT)!r}, draft: {', '.join(map(repr, DRAFT))}\n")
    show(
        ("row", "token that runs", "target says", "drafted", "outcome"),
        [
            (row, repr(runs), repr(says), drafted, outcome(row, accepted, says))
            for row, (runs, says, drafted) in enumerate(
                zip((TEXT[-1], *DRAFT), rows, (*map(repr, DRAFT), "-"), strict=True)
            )
        ],
        left=5,
    )
    gained = (*DRAFT[:accepted], token)
    print(f"\n{len(gained)} tokens from one run: {''.join(gained)!r}")
    print(f"{len(gained)} runs without a draft\n")

    right = (" Paris", ".", " It")
    lines = []
    for correct in range(len(right) + 1):
        draft = (*right[:correct], *("?",) * (len(right) - correct))
        accepted, _, token = verify(draft)
        kind = "recovered" if accepted < len(draft) else "bonus"
        lines.append((repr("".join(draft)), f"{token!r}, {kind}", accepted, accepted + 1))
    show(("draft", "token behind", "accepted", "tokens from the run"), lines, left=2)


if __name__ == "__main__":
    main()
