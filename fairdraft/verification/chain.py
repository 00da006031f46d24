"""Verification of chain drafts.

The functions know neither tensors nor the engine: they use operators, indexing and sums only. The
engine passes tensors; a proof passes exact fractions through the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fairdraft.draft import Draft, Verdict


class Rows(Protocol):
    """The target's laws by row, worked out when asked for if their owner likes."""

    def __getitem__(self, row: int, /) -> Any:
        """[V], the law of the token at `row`."""


class Draws(Protocol):
    """Where the decisions of one round come from: keyed noise, or an enumeration of all cases."""

    def accept(self, index: int, probability: Any) -> bool:
        """Whether draft token `index` stands, which has this probability (1 or more: surely)."""

    def token(self, index: int, law: Any) -> int:
        """A token from `law` [V], whose sum need not be 1, to stand at draft position `index`."""


def match(draft_token_ids: Sequence[int], target: Callable[[int], int]) -> Verdict:
    """Sample and match: keep the draft as long as it says what the target says.

    Greedy verification where `target` is the argmax; where it is the keyed draw of plain decoding
    it is lossless rejection sampling of a deterministic draft (its law is a point mass q, and
    accepting x with p(x), else sampling from p without x, is the same law), with tokens identical
    to plain decoding.

    Args:
        draft_token_ids: the chain.
        target: row → the target's own token there; asked for a row only if all before it matched.
    """
    for i, token in enumerate(draft_token_ids):
        own = target(i)
        if own != token:
            return Verdict(tuple(range(i)), own)
    count = len(draft_token_ids)
    return Verdict(tuple(range(count)), target(count))


def standard(target: Rows, draft: Draft, draws: Draws) -> Verdict:
    """Rejection sampling of a drawn draft (Leviathan et al. 2023, Algorithm 1; Chen et al. 2023).

    Token x is accepted with probability min(1, p(x) / q(x)); the first rejection is replaced by a
    draw from max(p − q, 0), normalised; if all stand, one more token comes from p.

    Args:
        target: 1 + len(draft) laws p [V] after all filters, the i-th given i draft tokens.
        draft: with `probs`, the laws q [V] its tokens were drawn from.
        draws: this round's decisions.
    """
    for i, token in enumerate(draft.token_ids):
        p, q = target[i], draft.probs[i]
        if not draws.accept(i, p[token] / q[token]):
            residual = (p - q) * (p > q)
            # p and q may differ by rounding alone; then their difference holds no law.
            law = residual if residual.sum() > 0 else p
            return Verdict(tuple(range(i)), draws.token(i, law))
    count = len(draft)
    return Verdict(tuple(range(count)), draws.token(count, target[count]))
