"""The target of this lab: a language model small enough to read. Given; nothing to do here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

VOCAB = 50

Law = Callable[[Sequence[int]], int]


class ToyTarget:
    """A language model that always says its likeliest token.

    Args:
        law: a text's tokens → the likeliest next token.

    Attributes:
        num_runs: how often it was run. That is what speculative decoding saves.
    """

    def __init__(self, law: Law) -> None:
        self.law = law
        self.num_runs = 0

    def run(self, token_ids: Sequence[int], num_rows: int = 1) -> list[int]:
        """Run once over a text.

        Each row sees the tokens up to its own and none behind it, as causal attention has it: one
        run answers for several beginnings of the text at once.

        Args:
            token_ids: the text, draft included.
            num_rows: how many of its last positions are asked.

        Returns:
            For each of the last `num_rows` tokens, the likeliest token behind it. The last entry
            is what follows the whole text.
        """
        if not 1 <= num_rows <= len(token_ids):
            raise ValueError(f"num_rows is {num_rows}, but the text has {len(token_ids)} tokens")
        self.num_runs += 1
        first = len(token_ids) - num_rows + 1
        return [self.law(token_ids[:end]) for end in range(first, len(token_ids) + 1)]


def random_law(token_ids: Sequence[int]) -> int:
    """Hash the whole text: no two texts share a next token but by chance, and nothing repeats."""
    text = ",".join(map(str, token_ids)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") % VOCAB


def periodic_law(token_ids: Sequence[int]) -> int:
    """Say 0 1 2 … 11 over and over, as a table or a boilerplate file does."""
    return len(token_ids) % 12


def mixed_law(token_ids: Sequence[int]) -> int:
    """Alternate: 24 tokens that repeat, 12 that do not, as code with comments in between."""
    place = len(token_ids)
    return random_law(token_ids) if place % 36 >= 24 else place % 12


LAWS: dict[str, Law] = {"periodic": periodic_law, "mixed": mixed_law, "random": random_law}


def generate(target: ToyTarget, prompt: Sequence[int], max_tokens: int) -> list[int]:
    """Write without speculation: one run a token.

    Args:
        target: says what comes next.
        prompt: at least one token.
        max_tokens: how many to write.

    Returns:
        The new tokens.
    """
    text = list(prompt)
    for _ in range(max_tokens):
        text += target.run(text)
    return text[len(prompt) :]
