"""Batch invariance, checked on the model itself: a row's bits must not depend on its company."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairdraft.errors import CheckpointError
from fairdraft.models.base import Runner
from fairdraft.models.batch import FlatBatch

EVERY_ROW = 1 << 62  # more rows than any step has
_TOKENS = 45  # beyond every row count at which some library changes its ways
_CUTS: tuple[tuple[int, ...], ...] = ((45,), (33, 12), (1, 16, 17, 1, 5, 5), (40, 1, 1, 1, 1, 1))


def run_in_pieces(runner: Runner, token_ids: Sequence[int], cut: Sequence[int]) -> Tensor:
    """[n, V] logits of a text that runs piece by piece on its own KV.

    Args:
        runner: with room allocated for the text from slot 0 on.
        token_ids: n tokens.
        cut: lengths of the pieces, n together.
    """
    logits = []
    start = 0
    for length in cut:
        places = torch.arange(start, start + length)
        batch = FlatBatch(
            torch.tensor(token_ids[start : start + length], device=runner.device),
            places.to(runner.device),
            places.to(runner.device),
            [0, length],
            [start],
            [list(range(len(token_ids)))],
            1,
            torch.arange(length, device=runner.device),
        )
        logits.append(runner.run(batch).logits)
        start += length
    return torch.cat(logits)


def largest_difference(runner: Runner) -> tuple[float, tuple[int, ...]]:
    """How far the logits of one text differ between ways to cut it into runs, and at which cut.

    0 means equal bits. Room is allocated anew; the caller allocates its own afterwards.
    """
    runner.allocate(_TOKENS, 1)
    token_ids = [(7 * i * i + 3) % min(runner.vocab_size, 1000) for i in range(_TOKENS)]
    whole = run_in_pieces(runner, token_ids, _CUTS[0])
    worst, where = 0.0, tuple(_CUTS[0])
    for cut in _CUTS[1:]:
        difference = float((run_in_pieces(runner, token_ids, cut) - whole).abs().max())
        if difference > worst:
            worst, where = difference, cut
    return worst, where


def require_invariance(runner: Runner) -> None:
    """Raise `CheckpointError` if a row's result depends on the rows beside it."""
    worst, cut = largest_difference(runner)
    if worst:
        raise CheckpointError(
            f"batch_invariant=True cannot be kept: run in pieces of {list(cut)} rows, one text "
            f"gives logits up to {worst:.3g} away from those of a run of {_TOKENS} rows, because "
            "a product or an attention of this model falls to a library whose kernels depend on "
            f"the number of rows (device {runner.device}). Leave batch_invariant out, or use "
            "bfloat16 or float32 on CPU and a model whose widths are multiples of 32"
        )
