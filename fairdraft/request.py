"""One request and its counters.

The counters carry the whole state; everything else follows from them:

    num_computed_tokens <= num_tokens <= num_tokens_with_spec = num_tokens + len(draft)

A prefill chunk, a plain decode and a verification are the same thing: tokens of
`num_tokens_with_spec` that are not computed yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from fairdraft.config import SamplingParams
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.errors import FairdraftError
from fairdraft.telemetry import SpecCounters


class Status(Enum):
    """Where a request stands in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Cut(NamedTuple):
    """The tokens of a step that a request takes, and why it takes no more.

    Args:
        token_ids: that it takes, at least one.
        finish_reason: "stop" or "length" where the last of them ends it; None where none does.
        stop_reason: the stop token or stop string that ended it; None for EOS and length.
    """

    token_ids: Sequence[int]
    finish_reason: str | None = None
    stop_reason: int | str | None = None


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
        finish_reason: "stop", "length", "abort" or "error" once finished.
        error: why it ended with "error".
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
    error: FairdraftError | None = None
    num_preemptions: int = 0
    num_cached_tokens: int = 0
    counters: SpecCounters = field(default_factory=SpecCounters)

    def __post_init__(self) -> None:
        self.token_ids = list(self.prompt_token_ids)

    @property
    def num_prompt_tokens(self) -> int:
        """How many tokens the prompt has."""
        return len(self.prompt_token_ids)

    @property
    def num_tokens(self) -> int:
        """How many tokens it has: prompt and accepted output."""
        return len(self.token_ids)

    @property
    def num_tokens_with_spec(self) -> int:
        """`num_tokens` plus the draft under way."""
        return len(self.token_ids) + len(self.draft)

    @property
    def num_output_tokens(self) -> int:
        """How many output tokens were accepted and given."""
        return len(self.token_ids) - len(self.prompt_token_ids)

    @property
    def output_token_ids(self) -> list[int]:
        """Accepted output tokens, as a new list."""
        return self.token_ids[len(self.prompt_token_ids) :]

    @property
    def decoding(self) -> bool:
        """Whether only its newest token waits to be computed."""
        return self.num_computed_tokens >= self.num_tokens - 1

    @cached_property
    def stop_token_ids(self) -> frozenset[int]:
        """Every token that ends the request, EOS included unless it is ignored."""
        eos = frozenset() if self.params.ignore_eos else self.eos_token_ids
        return eos | frozenset(self.params.stop_token_ids or ())

    def advance(self, num_tokens: int) -> None:
        """Count tokens as computed: they run in this step, those of the draft included."""
        self.num_computed_tokens += num_tokens

    def reuse(self, num_tokens: int) -> None:
        """Start behind tokens whose KV was found in the prefix cache."""
        self.num_computed_tokens = num_tokens
        self.num_cached_tokens = min(num_tokens, self.num_prompt_tokens)

    def hold(self, draft: Draft) -> None:
        """Keep a draft for the next step to verify, in place of the one before."""
        self.draft = draft

    def reject(self, num_tokens: int) -> None:
        """Drop the verified draft and take its rejected tokens back off the computed ones.

        Their slots are written over by the next step.
        """
        self.draft = EMPTY_DRAFT
        self.num_computed_tokens -= num_tokens

    def cut(self, token_ids: Sequence[int], max_model_len: int) -> Cut:
        """Find where new tokens end the request, before they are appended or counted.

        Args:
            token_ids: accepted tokens and the one after them.
            max_model_len: tokens that a request may reach.

        Returns:
            Those that it takes, and why it ends with the last, if it does. Stop strings need text:
            the detokenizer may cut earlier.
        """
        params, stops = self.params, self.stop_token_ids
        room = max_model_len - len(self.token_ids)
        given = len(self.token_ids) - len(self.prompt_token_ids)
        if params.max_tokens is not None:
            room = min(room, params.max_tokens - given)
        for count, token in enumerate(token_ids, 1):
            if token in stops and given + count >= params.min_tokens:
                natural = token in self.eos_token_ids and not params.ignore_eos
                return Cut(token_ids[:count], "stop", None if natural else token)
            if count >= room:
                return Cut(token_ids[:count], "length")
        return Cut(token_ids)

    def append(self, cut: Cut) -> None:
        """Take the tokens of a step up to the cut, and end there if it says so."""
        self.token_ids.extend(cut.token_ids)
        self.finish_reason = cut.finish_reason
        self.stop_reason = cut.stop_reason
        # An end inside an accepted stretch leaves KV of tokens that the request does not have.
        self.num_computed_tokens = min(self.num_computed_tokens, self.num_tokens)

    def reset(self) -> None:
        """Forget what was computed: its blocks are gone. Draft and KV begin anew."""
        self.draft = EMPTY_DRAFT
        self.block_table = []
        self.block_hashes = []
        self.num_computed_tokens = 0

    def end(self, finish_reason: str, error: FairdraftError | None = None) -> None:
        """End it from outside: "abort", or "error" with the reason."""
        self.finish_reason = finish_reason
        self.error = error
