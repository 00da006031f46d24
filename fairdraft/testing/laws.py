"""The exact law of a small target's first tokens, by running it on every text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fairdraft.config import SamplingParams
from fairdraft.draft import EMPTY_DRAFT
from fairdraft.models import Runner
from fairdraft.models.invariance import run_in_pieces
from fairdraft.request import Request
from fairdraft.sampling.sampler import TargetRows

Text = tuple[int, ...]


def text_law(runner: Runner, prompt: Text, params: SamplingParams) -> dict[Text, float]:
    """The exact law of the first `params.max_tokens` tokens, by running the target on every text.

    Args:
        runner: the target.
        prompt: the tokens before.
        params: with a filter that leaves few tokens; every text that it allows is followed.
    """
    runner.allocate(len(prompt) + (params.max_tokens or 1))
    law: dict[Text, float] = {(): 1.0}
    for _ in range(params.max_tokens or 1):
        longer: dict[Text, float] = {}
        for text, share in law.items():
            request = Request("law", prompt, params)
            request.token_ids.extend(text)
            row = TargetRows(request, EMPTY_DRAFT, last_logits(runner, request.token_ids), [])[0]
            row = row.double() / row.double().sum()
            for token in row.nonzero().flatten().tolist():
                longer[(*text, token)] = share * float(row[token])
        law = longer
    return law


def last_logits(runner: Runner, token_ids: Sequence[int]) -> Tensor:
    """[1, V]: the target's logits behind a text, in one run over all of it."""
    return run_in_pieces(runner, token_ids, (len(token_ids),))[-1:]
