"""Whole steps of the engine at settings of our choosing, on requests that only stand there."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from fairdraft.config import EngineConfig, SamplingParams, SpeculativeConfig
from fairdraft.draft import Draft
from fairdraft.engine.draft_lengths import FixedLength
from fairdraft.engine.engine import Engine
from fairdraft.models import ModelRunner
from fairdraft.proposers import PerRequestProposer, Proposer
from fairdraft.request import Request, Status
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import StepTimes

BLOCK = 16


class Filler(PerRequestProposer):
    """Drafts tokens that mean nothing, at no cost."""

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """So many tokens."""
        return Draft(tuple(range(10, 10 + budget)))


def rejecting_engine(
    runner: ModelRunner,
    proposer: Proposer,
    most: int,
    k: int,
    longest: int,
    prompt: int = 1,
    tokenizer: Any = None,
) -> Engine:
    """An engine whose drafts are all rejected.

    Args:
        runner: the target.
        proposer: drafts.
        most: requests at once.
        k: longest draft.
        longest: context that it has room for.
        prompt: tokens that it reads at once, likewise.
        tokenizer: the target's; None leaves detokenizing out.
    """
    synthetic = SpeculativeConfig(
        "off", k, rejection_sample_method="synthetic", synthetic_acceptance_rates=[0.0] * k
    )
    longest = max(longest, prompt) + k + 64
    config = EngineConfig(
        "profile",
        max_model_len=min(longest + k, runner.max_model_len),
        max_num_seqs=most,
        max_num_batched_tokens=max(most * (k + 1), prompt),
        num_gpu_blocks_override=(most + 1) * -(-(longest + 2 * k) // BLOCK),
        block_size=BLOCK,
        enable_prefix_caching=False,
        speculative_config=synthetic,
    )
    return Engine(config, runner, tokenizer, proposer=proposer, draft_lengths=FixedLength(0))


def standing(engine: Engine, requests: int, context: int) -> list[Request]:
    """Requests that decode, with so much context behind them, none of it computed.

    Their blocks are taken as the scheduler would; what lies in them does not matter to the clock.
    """
    params = SamplingParams(temperature=0, max_tokens=None, ignore_eos=True)
    return [_begun(engine, n, context, context - 1, params) for n in range(requests)]


def unread(engine: Engine, rows: int, start: int) -> Request:
    """A request that waits for the last `rows` tokens of its prompt; `start` tokens are behind it.

    None of those was computed, as of requests that stand.
    """
    params = SamplingParams(temperature=0, max_tokens=2)
    return _begun(engine, rows, start + rows, start, params)


def _begun(
    engine: Engine, seed: int, num_tokens: int, computed: int, params: SamplingParams
) -> Request:
    """A running request of so many tokens, of which some count as computed."""
    scheduler, rng = engine.scheduler, random.Random(seed)
    tokens = [rng.randrange(1000, 20_000) % engine.runner.vocab_size for _ in range(num_tokens)]
    request = engine.add_request(tokens, params)
    scheduler.waiting.remove(request)
    scheduler.kv.grow(request, computed, num_tokens, scheduler.num_lookahead_tokens)
    request.advance(computed)
    request.status = Status.RUNNING
    scheduler.running.append(request)
    if engine.proposer is not None:
        engine.proposer.start(request)
    return request


def step(engine: Engine, next_k: int) -> StepTimes:
    """One step, and what it took; it proposes drafts of `next_k` tokens for the next one."""
    assert isinstance(engine.draft_lengths, FixedLength)
    engine.draft_lengths.num_speculative_tokens = next_k
    before = vars(engine.times).copy()
    engine.step()
    after = vars(engine.times)
    return StepTimes(**{name: after[name] - before[name] for name in before})


def steps(
    engine: Engine, requests: int, context: int, ks: Iterable[int], seed: int
) -> list[tuple[int, StepTimes]]:
    """A step that proposes each of some draft lengths, and 0, in random order; 0 once more at last.

    What one step proposes, the next one runs.

    Returns:
        k proposed, and times.
    """
    made = standing(engine, requests, context)
    step(engine, 0)  # a drafter's first step reads what it needs of the text
    lengths = [0, *ks]
    random.Random(seed).shuffle(lengths)
    found = [(k, step(engine, k)) for k in [*lengths, 0]]
    for request in made:
        engine.abort(request.request_id)
    return found
