"""Block verification: the draft is judged as a whole, and never less of it is kept."""

from __future__ import annotations

from typing import Any

from fairdraft.draft import Draft, Verdict
from fairdraft.verification.base import Draws, TargetLaws, positive_part


def block(target: TargetLaws, draft: Draft, draws: Draws) -> Verdict:
    """Sun et al. 2024 (arXiv 2403.10444), Algorithm 2: keep the longest beginning that stands.

    With P₀ = 1 and Pᵢ = min(1, Pᵢ₋₁ · p(xᵢ) / q(xᵢ)), the first i tokens stand with probability
    hᵢ = Sᵢ / (Sᵢ + 1 − Pᵢ), Sᵢ = Σ_y max(Pᵢ · p(y) − q(y), 0) over the next token y, and h_k = P_k;
    the largest such i wins, failures before it or not. The next token then comes from
    max(Pᵢ · p − q, 0), or from p behind a draft that stands whole.

    Args:
        target: 1 + len(draft) laws p [V] after all filters.
        draft: a chain with `probs`, the laws q [V] its tokens were drawn from.
        draws: this round's decisions. Later draft tokens are looked at and may yet be drawn anew,
            so its noise must be this round's own, not keyed by position.

    Raises:
        ValueError: the draft is a tree, for which the rule is not defined.
    """
    if not draft.is_chain:
        raise ValueError("block verification takes chains, not trees: use the standard rule")
    count = len(draft)
    laws = [target[i] for i in range(count)]  # each is needed twice, and dear to work out
    weights: list[Any] = [1]  # Pᵢ
    for i, token in enumerate(draft.token_ids):
        ratio = weights[i] * laws[i][token] / draft.probs[i][token]
        weights.append(ratio if ratio < 1 else 1)
    if not count or draws.accept(count - 1, weights[count]):
        return Verdict(tuple(range(count)), draws.token(count, target[count]))
    for i in range(count - 1, -1, -1):
        left = positive_part(laws[i] * weights[i] - draft.probs[i])
        mass = left.sum()
        room = mass + 1 - weights[i]
        if i == 0 or room == 0 or draws.accept(i - 1, mass / room):
            # Nothing left: P = 1 and p = q, or as good as.
            return Verdict(tuple(range(i)), draws.token(i, left if mass > 0 else laws[i]))
    raise AssertionError("the empty beginning always stands")
