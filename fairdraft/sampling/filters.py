"""Logits to probabilities: penalties, bans, temperature, min-p, top-k, top-p.

Everything works on one row, that is on the law of one token given all tokens before it. In a
verification run the tokens before row i include the first i draft tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fairdraft.config import SamplingParams
from fairdraft.request import Request
from fairdraft.sampling import device_kernels
from fairdraft.sampling.laws import law_over


def needs_history(request: Request) -> bool:
    """Whether the logits of a row change before temperature: penalties, biases and bans."""
    params = request.params
    return bool(
        params.logit_bias
        or request.bad_words_token_ids
        or params.min_tokens
        or params.repetition_penalty != 1
        or params.presence_penalty
        or params.frequency_penalty
    )


def adjust(logits: Tensor, request: Request, drafted: Sequence[int]) -> Tensor:
    """Apply bias, bans and penalties to one row.

    Args:
        logits: [V], any float dtype; left as it is.
        request: whose row it is.
        drafted: draft tokens between the request's tokens and this row.

    Returns:
        [V] float32.
    """
    params = request.params
    row = logits.float().clone()
    output = [*request.output_token_ids, *drafted]
    if params.logit_bias:
        ids = torch.tensor(list(params.logit_bias), device=row.device)
        row[ids] += torch.tensor(list(params.logit_bias.values()), device=row.device)
    banned = banned_tokens(request, output)
    if banned:
        row[torch.tensor(banned, device=row.device)] = -torch.inf
    if params.repetition_penalty != 1:
        seen = torch.tensor(sorted({*request.prompt_token_ids, *output}), device=row.device)
        value = row[seen]
        penalty = params.repetition_penalty
        row[seen] = torch.where(value > 0, value / penalty, value * penalty)
    if output and (params.presence_penalty or params.frequency_penalty):
        counted = Counter(output)
        seen = torch.tensor(list(counted), device=row.device)
        counts = torch.tensor(list(counted.values()), device=row.device)
        row[seen] -= params.presence_penalty + params.frequency_penalty * counts
    return row


def banned_tokens(request: Request, output: Sequence[int]) -> list[int]:
    """Tokens that must not come after `output`: ends before min_tokens, and ends of bad words."""
    banned: list[int] = []
    if len(output) < request.params.min_tokens:
        banned.extend(request.stop_token_ids | request.eos_token_ids)
    for word in request.bad_words_token_ids:
        *head, last = word
        if list(output[len(output) - len(head) :]) == head:
            banned.append(last)
    return banned


def probabilities(
    logits: Tensor,
    params: SamplingParams,
    vocab_size: int | None = None,
    target_ids: Tensor | None = None,
) -> Tensor:
    """The law that is sampled, after temperature, min-p, top-k and top-p in this order.

    Ties with the k-th or the last token of the nucleus are kept, so the result does not depend on
    how a sort breaks them.

    Args:
        logits: [V], adjusted where the request asks for it.
        params: with temperature above 0.
        vocab_size: of the law, where that is over another vocabulary: a drafter's tokens are fewer.
        target_ids: [V] int64, what each token is there; None where it is the same.

    Returns:
        [V], or [vocab_size], float32, sums to 1; 0 for tokens that have no logit.
    """
    size = len(logits) if vocab_size is None else vocab_size
    if logits.device.type == "cpu":
        row = logits.detach().float().numpy()
        ids = _SAME_IDS if target_ids is None else target_ids.numpy()
        filters = params.temperature, params.min_p, params.top_k, params.top_p
        return torch.from_numpy(law_over(row, *filters, ids, size))
    law = device_kernels.law_of(logits, params)
    if target_ids is None and len(law) == size:
        return law
    full = law.new_zeros(size)
    full[slice(len(law)) if target_ids is None else target_ids] = law
    return full


_SAME_IDS = np.empty(0, np.int64)
