"""Batch invariance, checked on the model itself: a row's bits must not depend on other rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fairdraft.models.base import Runner
from fairdraft.models.batch import FlatBatch
from fairdraft.models.early_exit import EarlyExit

_TOKENS = 45  # beyond every row count at which some library changes its ways
_CUTS: tuple[tuple[int, ...], ...] = ((45,), (33, 12), (1, 16, 17, 1, 5, 5), (40, 1, 1, 1, 1, 1))


def run_in_pieces(
    runner: Runner, token_ids: Sequence[int], cut: Sequence[int], num_layers: int | None = None
) -> Tensor:
    """Return the logits [n, V] of a text that runs piece by piece on its own KV.

    Args:
        runner: with room allocated for the text from slot 0 on.
        token_ids: n tokens.
        cut: lengths of the pieces, n together.
        num_layers: run only so many of the first layers, then the head; None runs all.
    """
    run = runner.run if num_layers is None else EarlyExit(runner, num_layers).run
    logits = []
    start = 0
    for length in cut:
        batch = FlatBatch.of(
            [token_ids[start : start + length]],
            [start],
            [range(len(token_ids))],
            1,
            runner.device,
            logit_rows=range(length),
        )
        logits.append(run(batch).logits)
        start += length
    return torch.cat(logits)


def largest_difference(
    runner: Runner, num_layers: int | None = None
) -> tuple[float, tuple[int, ...]]:
    """Return how far the logits of one text differ between ways to cut it into runs, and the cut.

    0 means equal bits. Room is allocated anew; the caller allocates its own afterwards.

    Args:
        runner: the model.
        num_layers: of its first layers that run; None runs all.
    """
    runner.allocate(_TOKENS, 1)
    token_ids = [(7 * i * i + 3) % min(runner.vocab_size, 1000) for i in range(_TOKENS)]
    whole = run_in_pieces(runner, token_ids, _CUTS[0], num_layers)
    worst, where = 0.0, tuple(_CUTS[0])
    for cut in _CUTS[1:]:
        logits = run_in_pieces(runner, token_ids, cut, num_layers)
        difference = float((logits - whole).abs().max())
        if difference > worst:
            worst, where = difference, cut
    return worst, where


def broken_invariance(runner: Runner, num_layers: int) -> str | None:
    """Return why a row's result depends on the rows beside it; None if it does not.

    Args:
        runner: the model.
        num_layers: first layers that hold every kind of layer it has: one of a kind is enough.
    """
    worst, cut = largest_difference(runner, num_layers)
    if not worst:
        return None
    return (
        f"run in pieces of {list(cut)} rows, one text gives logits up to {worst:.3g} away from "
        f"those of a run of {_TOKENS} rows, because a product or an attention of this model falls "
        f"to a library whose kernels depend on the number of rows (device {runner.device})"
    )
