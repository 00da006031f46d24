"""Suffix decoding: draft what followed the longest match, in this text or in earlier answers.

Oliaro et al. 2024, "SuffixDecoding" (arXiv 2411.04975). Two indexes: one a request, over its own
prompt and output, and a global one over the outputs of past requests. Drafts are longer where the
match is longer and its continuations agree.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fairdraft.config import require_bool, require_int, require_number, shown
from fairdraft.draft import Draft
from fairdraft.errors import ConfigError
from fairdraft.proposers.base import Needs, PerRequestProposer
from fairdraft.proposers.suffix.index import Guess, SuffixIndex
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise

MAX_CACHED_TOKENS = 4_000_000  # of past outputs; room is two to four times that, at 40 bytes


def salt_of(cache_salt: str | None) -> int:
    """63 bits that stand for a tenant; 0 for none."""
    if cache_salt is None:
        return 0
    digest = hashlib.blake2b(cache_salt.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class SuffixProposer(PerRequestProposer):
    """Drafts by suffix lookup. Keys and defaults are vLLM's.

    What the global index may leak: whether a draft is accepted shows in timing, so a client may
    learn that some other client's answer held a text it can guess (arXiv 2411.01076). Give each
    tenant's requests a `cache_salt` of their own, or set `suffix_decoding_max_cached_requests` to
    0, where clients do not trust each other.

    Args:
        num_speculative_tokens: longest draft.
        suffix_decoding_max_tree_depth: longest suffix looked for.
        suffix_decoding_max_cached_requests: past outputs in the global index; 0 turns it off.
        suffix_decoding_max_spec_factor: draft tokens at most per matched token.
        suffix_decoding_min_token_prob: a draft ends before its probability falls under this.
        suffix_decoding_use_tree_spec: draft a tree where the matches disagree; its nodes then are
            what num_speculative_tokens limits. Arctic Inference's name for it.
        suffix_decoding_index: file to load the global index from, as `save` wrote it; None begins
            with an empty one.

    Raises:
        ConfigError: a value is out of range, or the file is missing or no saved index.
    """

    needs = Needs(rows=False)
    is_lookup = True

    def __init__(
        self,
        num_speculative_tokens: int,
        suffix_decoding_max_tree_depth: int = 24,
        suffix_decoding_max_cached_requests: int = 10_000,
        suffix_decoding_max_spec_factor: float = 1.0,
        suffix_decoding_min_token_prob: float = 0.1,
        suffix_decoding_use_tree_spec: bool = False,
        suffix_decoding_index: str | None = None,
    ) -> None:
        super().__init__(num_speculative_tokens)
        prefix = "suffix_decoding_"
        require_int(prefix + "max_tree_depth", suffix_decoding_max_tree_depth, 1, "24 is usual")
        require_int(
            prefix + "max_cached_requests", suffix_decoding_max_cached_requests, 0, "0 is off"
        )
        require_number(
            prefix + "max_spec_factor", suffix_decoding_max_spec_factor, 0, 1e6, "1 is usual"
        )
        require_number(
            prefix + "min_token_prob", suffix_decoding_min_token_prob, 0, 1, "0.1 is usual"
        )
        require_bool(prefix + "use_tree_spec", suffix_decoding_use_tree_spec)
        self.drafts_trees = suffix_decoding_use_tree_spec
        self.depth = suffix_decoding_max_tree_depth
        self.factor = float(suffix_decoding_max_spec_factor)
        self.least = float(suffix_decoding_min_token_prob)
        self.past: SuffixIndex | None = None
        if suffix_decoding_max_cached_requests:
            limit = suffix_decoding_max_cached_requests
            self.past = SuffixIndex(self.depth, limit, MAX_CACHED_TOKENS)
        if suffix_decoding_index is not None:
            self._load(suffix_decoding_index)
        self._requests: dict[str, Request] = {}
        self._own: dict[str, SuffixIndex] = {}

    def _load(self, path: object) -> None:
        if self.past is None:
            raise ConfigError(
                "suffix_decoding_index is given, but suffix_decoding_max_cached_requests is 0: "
                "leave one of them out"
            )
        if not isinstance(path, (str, Path)) or not Path(path).exists():
            raise ConfigError(
                f"suffix_decoding_index is {shown(path)}, but there is no such file: leave it out "
                "until SuffixProposer.save has written one"
            )
        try:
            self.past.load(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ConfigError(
                f"suffix_decoding_index {shown(path)} is no index that fairdraft saved ({error})"
            ) from None

    def save(self, path: str | Path) -> None:
        """Write the global index to a file, for `suffix_decoding_index`."""
        if self.past is not None:
            self.past.save(path)

    def bind(self, target: Any) -> None:
        """Refuse an index of another model's tokens."""
        if self.past is not None and self.past.largest_token >= target.vocab_size:
            raise ConfigError(
                f"suffix_decoding_index holds token {self.past.largest_token}, but the target has "
                f"{target.vocab_size}: it was saved with another model; leave it out"
            )

    def start(self, request: Request) -> None:
        """Remember the request; its own index outlives a preemption."""
        self._requests[request.request_id] = request

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """The better-scoring of the two indexes' guesses, for the request."""
        own = self._own.get(request.request_id)
        if own is None:
            own = self._own[request.request_id] = SuffixIndex(self.depth)
            own.begin()
        own.extend(request.token_ids[own.num_tokens :])
        context = np.array(request.token_ids[-self.depth :], np.int32)
        ask = partial(
            SuffixIndex.guess,
            context=context,
            budget=budget,
            factor=self.factor,
            least=self.least,
            branch=self.drafts_trees,
        )
        guess = ask(own)
        if self.past is not None:
            guess = max(guess, ask(self.past, salt=salt_of(request.cache_salt)), key=_merit)
        return guess.draft

    def finish(self, request_id: str) -> None:
        """Move the request's output to the global index."""
        self._own.pop(request_id, None)
        request = self._requests.pop(request_id, None)
        if self.past is not None and request is not None and request.num_output_tokens:
            self.past.begin(salt_of(request.cache_salt))
            self.past.extend(request.output_token_ids)


def _merit(guess: Guess) -> tuple[float, int]:
    return guess.score, guess.match
