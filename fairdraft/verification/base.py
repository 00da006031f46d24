"""What verifiers ask of the target and of chance.

Verifiers know neither tensors nor the engine: they use operators, indexing and sums only. The
engine passes tensors; the exact proof (`fairdraft.proof.exact`) passes fractions through the
same lines.
"""

from __future__ import annotations

from typing import Any, Protocol


class TargetLaws(Protocol):
    """The target's laws by row, worked out when asked for if their owner likes."""

    def __getitem__(self, row: int, /) -> Any:
        """[V], the law of the token at `row` after all filters; sums to 1."""


class Draws(Protocol):
    """Where the decisions of one round come from: keyed noise, or an enumeration of all cases."""

    def accept(self, node: int, probability: Any) -> bool:
        """Whether draft token `node` stands, which has this probability (1 or more: surely)."""

    def token(self, row: int, law: Any) -> int:
        """A token from `law` [V], whose sum need not be 1, to stand at `row`."""


class Target(TargetLaws, Protocol):
    """The target's laws, and the tokens that plain decoding would draw from them."""

    def token(self, row: int, /) -> int:
        """The target's own token at `row`: the likeliest, or the keyed draw."""


class RoundDraws(Draws, Protocol):
    """The decisions of one round, with one more for the round as a whole."""

    def uniform(self) -> float:
        """A draw in [0, 1)."""


def positive_part(difference: Any) -> Any:
    """max(difference, 0), entry by entry."""
    return difference * (difference > 0)
