"""Sample and match: the target says its own token, and the draft is kept while it says the same."""

from __future__ import annotations

from collections.abc import Callable

from fairdraft.draft import Draft, Verdict


def match(draft: Draft, target: Callable[[int], int]) -> Verdict:
    """Follow the target's own tokens through the draft, chain or tree.

    Lossless for every draft that does not know the target's draw. With the argmax for `target` it
    is greedy verification. With the keyed draw of plain decoding it is rejection sampling of a
    deterministic draft (q is a point mass at x, and accepting x with p(x), else sampling from p
    without x, is the same law), with the tokens of plain decoding. With Gumbel coupling
    (Daliri et al. 2025, arXiv 2408.07978) draft and target share the noise; what comes out is
    the target's token all the same.

    Args:
        draft: what to follow.
        target: row → the target's own token there; asked for a row only if all before it matched.
    """
    row = 0
    path: list[int] = []
    while True:
        own = target(row)
        for node in draft.children[row]:
            if draft.token_ids[node] == own:
                path.append(node)
                row = node + 1
                break
        else:
            return Verdict(tuple(path), own)
