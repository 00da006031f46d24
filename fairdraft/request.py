"""One request and its counters.

The counters carry the whole state; everything else follows from them:

    num_computed_tokens <= num_tokens <= num_tokens_with_spec = num_tokens + len(draft)

A prefill chunk, a plain decode and a verification are the same thing: tokens of
`num_tokens_with_spec` that are not computed yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from fairdraft.config import SamplingParams
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.telemetry import SpecCounters


class Status(Enum):
    """Where a request stands in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False)
class Request:
    """One sequence being generated.

    Args:
        request_id: unique among live requests.
        prompt_token_ids: at least one token.
        params: how it is sampled and when it ends.
        seed: root of every draw of this request.
        eos_token_ids: tokens that end it unless `params.ignore_eos`.
        bad_words_token_ids: `params.bad_words` as token sequences.
        cache_salt: requests share cached prefixes and past text only with others of their salt.

    Attributes:
        token_ids: prompt and accepted output, never a draft.
        draft: tokens proposed for the next step, not yet verified.
        num_computed_tokens: tokens whose KV is in the cache, drafts under way included until
            `update_from_output` takes the rejected ones back off.
        block_table: KV block ids; token i lies in block i // block_size.
        finish_reason: "stop", "length" or "abort" once finished.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    params: SamplingParams
    seed: int = 0
    eos_token_ids: frozenset[int] = frozenset()
    bad_words_token_ids: tuple[tuple[int, ...], ...] = ()
    cache_salt: str | None = None

    token_ids: list[int] = field(init=False)
    draft: Draft = EMPTY_DRAFT
    num_computed_tokens: int = 0
    block_table: list[int] = field(default_factory=list)
    block_hashes: list[bytes] = field(default_factory=list)
    status: Status = Status.WAITING
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    num_preemptions: int = 0
    num_cached_tokens: int = 0
    counters: SpecCounters = field(default_factory=SpecCounters)

    def __post_init__(self) -> None:
        self.token_ids = list(self.prompt_token_ids)

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt_token_ids)

    @property
    def num_tokens(self) -> int:
        """Prompt and accepted output tokens."""
        return len(self.token_ids)

    @property
    def num_tokens_with_spec(self) -> int:
        """`num_tokens` plus the draft under way."""
        return len(self.token_ids) + len(self.draft)

    @property
    def num_output_tokens(self) -> int:
        """Accepted output tokens."""
        return len(self.token_ids) - len(self.prompt_token_ids)

    @property
    def output_token_ids(self) -> list[int]:
        """Accepted output tokens, as a new list."""
        return self.token_ids[len(self.prompt_token_ids) :]

    @property
    def decoding(self) -> bool:
        """Whether only its newest token waits to be computed."""
        return self.num_computed_tokens >= self.num_tokens - 1

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Every token that ends the request, EOS included unless it is ignored."""
        eos = frozenset() if self.params.ignore_eos else self.eos_token_ids
        return eos | frozenset(self.params.stop_token_ids or ())

    def append(self, token_id: int, max_model_len: int) -> bool:
        """Add one accepted token and settle whether the request ends with it.

        Returns:
            Whether it does; `finish_reason` then says why. Stop strings are the engine's concern,
            for they need text.
        """
        self.token_ids.append(token_id)
        limit = self.params.max_tokens
        if self.num_output_tokens >= self.params.min_tokens and token_id in self.stop_token_ids:
            self.finish_reason = "stop"
            natural = token_id in self.eos_token_ids and not self.params.ignore_eos
            self.stop_reason = None if natural else token_id
        elif self.num_tokens >= max_model_len or (
            limit is not None and self.num_output_tokens >= limit
        ):
            self.finish_reason = "length"
        return self.finish_reason is not None
