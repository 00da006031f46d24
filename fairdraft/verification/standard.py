"""Rejection sampling, token by token, of drafts that were drawn."""

from __future__ import annotations

from fairdraft.draft import Draft, Verdict
from fairdraft.verification.base import Draws, TargetLaws, positive_part


def standard(target: TargetLaws, draft: Draft, draws: Draws) -> Verdict:
    """Accept x with probability min(1, p(x) / q(x)); after a rejection p becomes what is left.

    A chain: Leviathan et al. 2023, Algorithm 1; Chen et al. 2023. Siblings of a tree are tried one
    by one against what the rejections before them left of p (SpecInfer, Miao et al. 2024,
    section 4.3); that holds with and without replacement, as long as `probs` are the laws that
    each sibling was really drawn from.

    Args:
        target: 1 + len(draft) laws p [V] after all filters.
        draft: with `probs`, the laws q [V] its tokens were drawn from.
        draws: this round's decisions.
    """
    row = 0
    path: list[int] = []
    while True:
        p = target[row]
        for node in draft.children[row]:
            token, q = draft.token_ids[node], draft.probs[node]
            if draws.accept(node, p[token] / q[token]):
                path.append(node)
                row = node + 1
                break
            left = positive_part(p - q)
            # p and q may differ by rounding alone; then their difference holds no law.
            total = left.sum()
            p = left / total if total > 0 else p
        else:
            return Verdict(tuple(path), draws.token(row, p))
