"""What a request must fit before it may run: the model, its vocabulary, the KV pool."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any

import torch

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.engine.scheduler import Scheduler
from fairdraft.errors import ConfigError
from fairdraft.inputs import check_against_model
from fairdraft.models import Runner
from fairdraft.request import Request
from fairdraft.sampling.noise import Purpose, derive_seed

DEFAULT_KV_BYTES = 4 * 2**30


def check_max_model_len(config: EngineConfig, runner: Runner) -> int:
    """Return the longest prompt plus output in tokens.

    Raises:
        ConfigError: the configuration asks for more than the model was made for.
    """
    asked, limit = config.max_model_len, runner.max_model_len
    if asked is not None and asked > limit:
        raise ConfigError(
            f"max_model_len is {asked}, but the model was made for {limit} tokens: lower it"
        )
    return limit if asked is None else asked


def num_kv_blocks(config: EngineConfig, runner: Runner, max_model_len: int) -> int:
    """Return how many KV blocks the pool gets.

    Raises:
        ConfigError: the memory given for KV does not hold one block, or is more than there is.
    """
    per_block = runner.kv_bytes_per_token * config.block_size
    full = config.max_num_seqs * -(-max_model_len // config.block_size)
    budget = config.kv_cache_memory_bytes or DEFAULT_KV_BYTES
    num_blocks = budget // per_block if per_block else full
    if config.num_gpu_blocks_override is not None:
        num_blocks = config.num_gpu_blocks_override
    elif config.kv_cache_memory_bytes is None:
        num_blocks = min(num_blocks, full)
    if num_blocks == 0:
        raise ConfigError(
            f"kv_cache_memory_bytes is {budget}, but one block of {config.block_size} tokens "
            f"takes {per_block} bytes: raise it"
        )
    config.require_memory(num_blocks, per_block, device_memory(runner.device))
    return num_blocks


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has, in use or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Admission:
    """Makes requests of prompts, and refuses those that could never run.

    Touches no state that a step uses: any thread may call it while another one steps.

    Args:
        config: for the seed that requests without one derive theirs from.
        runner: the target.
        tokenizer: a transformers tokenizer; None works on token ids only.
        eos_token_ids: tokens that end a text.
        scheduler: knows the longest request and the KV pool.
    """

    def __init__(
        self,
        config: EngineConfig,
        runner: Runner,
        tokenizer: Any,
        eos_token_ids: frozenset[int],
        scheduler: Scheduler,
    ) -> None:
        self.config = config
        self.runner = runner
        self.tokenizer = tokenizer
        self.eos_token_ids = eos_token_ids
        self.scheduler = scheduler
        self._numbers = itertools.count()

    def make_request(
        self,
        prompt_token_ids: Sequence[int],
        params: SamplingParams,
        request_id: str | None = None,
        seed: int | None = None,
        cache_salt: str | None = None,
    ) -> Request:
        """Make a request of a prompt.

        Args:
            prompt_token_ids: each below the vocabulary's size.
            params: sampling parameters; `n` is the caller's concern.
            request_id: unique among live requests; None makes one.
            seed: overrides `params.seed`; None for both derives one from the engine's seed.
            cache_salt: share cached prefixes and past text only with requests of the same salt.

        Raises:
            RequestError: the model cannot serve it, see `check_against_model`, or the KV pool
                cannot hold it.
        """
        longest = self.scheduler.max_model_len
        size = self.runner.vocab_size
        check_against_model(prompt_token_ids, params, size, self.tokenizer, longest)
        number = next(self._numbers)
        if seed is None:
            seed = params.seed
        request = Request(
            str(number) if request_id is None else request_id,
            tuple(prompt_token_ids),
            params,
            derive_seed(self.config.seed, Purpose.REQUEST, number) if seed is None else seed,
            self.eos_token_ids,
            self._encode_bad_words(params),
            cache_salt,
        )
        self.scheduler.check(request)
        return request

    def _encode_bad_words(self, params: SamplingParams) -> tuple[tuple[int, ...], ...]:
        """Return each bad word's tokens, at the start of a text and after a space."""
        forms = {form for word in params.bad_words or () for form in (word, f" {word.lstrip()}")}
        encoded = (self.tokenizer.encode(form, add_special_tokens=False) for form in sorted(forms))
        return tuple(tuple(tokens) for tokens in encoded if tokens)
