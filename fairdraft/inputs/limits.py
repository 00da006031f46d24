"""What a request may not ask of the model that is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairdraft.config import SamplingParams, shown
from fairdraft.errors import RequestError


def check_against_model(
    prompt_ids: Sequence[int],
    params: SamplingParams,
    vocab_size: int,
    tokenizer: Any,
    max_model_len: int,
) -> None:
    """Refuse what the model that is loaded cannot serve.

    Args:
        prompt_ids: of one request.
        params: its own.
        vocab_size: of the target.
        tokenizer: None where the engine works on token ids alone.
        max_model_len: prompt and output together, in tokens.

    Raises:
        RequestError: the prompt is empty or leaves no room for output, a token id or the number of
            log-probabilities goes beyond the vocabulary, or text is to be matched without a
            tokenizer.
    """
    if not prompt_ids:
        raise RequestError("the prompt is empty: give at least one token")
    if len(prompt_ids) >= max_model_len:
        raise RequestError(
            f"the prompt has {len(prompt_ids)} tokens, but max_model_len={max_model_len} leaves "
            "no room for output: shorten the prompt or raise max_model_len"
        )
    for token in (min(prompt_ids), max(prompt_ids)):
        if not 0 <= token < vocab_size:
            raise RequestError(
                f"token id {shown(token)} is outside the vocabulary of {vocab_size}: "
                "encode the prompt with the model's own tokenizer"
            )
    for name in ("logit_bias", "stop_token_ids"):
        for token in getattr(params, name) or ():
            if token >= vocab_size:
                raise RequestError(
                    f"token id {shown(token)} in {name} is outside the vocabulary of "
                    f"{vocab_size}: leave it out"
                )
    if params.logprobs is not None and params.logprobs > vocab_size:
        raise RequestError(
            f"logprobs is {shown(params.logprobs)}, above the vocabulary of {vocab_size}: lower it"
        )
    if tokenizer is None and (params.stop_strings or params.bad_words):
        raise RequestError("stop and bad_words need a tokenizer: use token ids instead")
