"""Acceptance of a drafter on prompts, counted while the engine answers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.engine.engine import Engine
from fairdraft.models import ModelRunner
from fairdraft.profiling.steps import BLOCK
from fairdraft.proposers import build_proposer
from fairdraft.telemetry import SpecCounters


def count_acceptance(
    runner: ModelRunner,
    tokenizer: Any,
    eos_token_ids: frozenset[int],
    config: SpeculativeConfig,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    requests: int,
    seconds: float,
    tick: Callable[[], None] = lambda: None,
) -> SpecCounters:
    """Answer prompts greedily with a drafter and return what it drafted and what stood.

    Args:
        runner: the target.
        tokenizer: the target's.
        eos_token_ids: tokens that end a text.
        config: who drafts, and how many tokens at most.
        prompts: token ids of each.
        max_tokens: of each answer at most.
        requests: at once.
        seconds: after which no more is generated; what is counted so far is returned.
        tick: called after each step, for a progress bar.

    Raises:
        FairdraftError: the drafter does not fit the target, or a prompt is too long.
    """
    longest = max(map(len, prompts)) + max_tokens + config.num_speculative_tokens
    engine = Engine(
        EngineConfig(
            runner.name,
            max_model_len=min(longest, runner.max_model_len),
            max_num_seqs=requests,
            num_gpu_blocks_override=requests * (-(-longest // BLOCK) + 2),
            block_size=BLOCK,
            enable_prefix_caching=False,
            speculative_config=config,
        ),
        runner,
        tokenizer,
        eos_token_ids,
        build_proposer(config),
    )
    for prompt in prompts:
        engine.add_request(prompt, SamplingParams(temperature=0, max_tokens=max_tokens))
    end = monotonic() + seconds
    while engine.has_unfinished_requests and monotonic() < end:
        engine.step()
        tick()
    return engine.counters
