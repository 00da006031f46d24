"""Filters, and draws from a law, for laws on another device than the CPU: torch over many rows.

What `kernels` and `noise.race` compute, whose functions are the definition. Sums run in float64 but
in torch's order, so that laws are within 1e-6 of theirs, and a draw may differ where its uniform
number lies within rounding of a boundary between two tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fairdraft.config import SamplingParams

_ODD = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as int64
_MIX_1 = -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
_MIX_2 = -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB


def law_of(logits: Tensor, params: SamplingParams) -> Tensor:
    """Return the law [V] of one row of logits [V], as `filters.probabilities`."""
    law = torch.softmax(logits.float() / params.temperature, -1)
    if not filters_anything(params, len(law)):
        return law
    min_p, top_p = (
        law.new_full((1,), value, dtype=torch.float64) for value in (params.min_p, params.top_p)
    )
    top_k = law.new_full((1,), params.top_k, dtype=torch.int64)
    return restrict(law[None], min_p, top_k, top_p)[0]


def filters_anything(params: SamplingParams, vocab_size: int) -> bool:
    """Whether min-p, top-k or top-p can take a token out."""
    return params.min_p > 0 or 0 < params.top_k < vocab_size or params.top_p < 1


def restrict(law: Tensor, min_p: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Apply min-p, top-k and top-p in this order and normalise, as `laws.law_over`: ties stay.

    Args:
        law: [R, V] float32.
        min_p: [R] float64; 0 keeps all.
        top_k: [R] int64; 0 or less, or V and more, keep all.
        top_p: [R] float64; 1 keeps all.

    Returns:
        [R, V] float32, rows sum to 1.
    """
    vocab_size = law.shape[1]
    law = law.where(law >= (min_p * law.amax(-1)).float()[:, None], 0.0)
    ordered = law.sort(-1, descending=True).values
    some = (top_k > 0) & (top_k < vocab_size)
    last = ordered.gather(1, (top_k.clamp(1, vocab_size) - 1)[:, None])
    edge = last.where(some[:, None], 0.0)
    law, ordered = law.where(law >= edge, 0.0), ordered.where(ordered >= edge, 0.0)
    reached = ordered.double().cumsum(-1)
    total = reached[:, -1:]
    # The first place at which the mass is reached is as many as do not reach it before.
    place = (reached < top_p[:, None] * total).sum(-1, keepdim=True).clamp(max=vocab_size - 1)
    edge = ordered.gather(1, place).where(top_p[:, None] < 1, 0.0)
    law = law.where(law >= edge, 0.0)
    return (law.double() / law.sum(-1, keepdim=True, dtype=torch.float64)).float()


def pick(law: Tensor, draws: Tensor) -> Tensor:
    """Return the token whose share of [0, 1) holds each draw, as `kernels.pick`.

    Args:
        law: [R, V] non-negative; need not be normalised.
        draws: [R] float64 in [0, 1).

    Returns:
        [R] int64; −1 where a law is zero everywhere or no number.
    """
    reached = law.double().cumsum(-1)
    total = reached[:, -1:]
    token = torch.searchsorted(reached, draws[:, None] * total, right=True)
    # Rounding: the goal lies at the very end; the last token of the law is the first to reach it.
    token = torch.minimum(token, torch.searchsorted(reached, total.contiguous()))
    sound = (total > 0) & (total < torch.inf)
    return token.where(sound, -1)[:, 0]


def race(law: Tensor, keys: Tensor) -> Tensor:
    """Return the winner of each row's race, as `noise.race`, with the same noise.

    Args:
        law: [R, V] non-negative; need not be normalised.
        keys: [R] int64, the 64 bits that name each draw.

    Returns:
        [R] int64; −1 where a law is zero everywhere or no number.
    """
    token = torch.arange(1, law.shape[1] + 1, device=law.device)
    z = keys[:, None] + token * _ODD
    z = (z ^ _shifted(z, 30)) * _MIX_1
    z = (z ^ _shifted(z, 27)) * _MIX_2
    z = z ^ _shifted(z, 31)
    u = (_shifted(z, 11).double() + 0.5) * 2.0**-53
    runs = law > 0
    times = (-u.log() / law.double()).where(runs, torch.inf)
    return times.argmin(-1).where(runs.any(-1), -1)


def _shifted(z: Tensor, by: int) -> Tensor:
    """Shift right as unsigned numbers do: torch's int64 carries its sign along."""
    return (z >> by) & ((1 << (64 - by)) - 1)
