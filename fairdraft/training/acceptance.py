"""Acceptance by real drafting: a drafter in the engine, on prompts that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fairdraft.config import EngineConfig, SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.models import ModelRunner
from fairdraft.proposers import Proposer
from fairdraft.telemetry import SpecCounters, StepTimes


@dataclass(frozen=True)
class MeasuredAcceptance:
    """Acceptance of a drafter on some prompts, and where the time went.

    Args:
        counters: tokens drafted and accepted.
        times: seconds by part of a step.
    """

    counters: SpecCounters
    times: StepTimes

    @property
    def record(self) -> dict[str, Any]:
        """The measurement as it stands in a log."""
        return {
            "mean_acceptance_length": self.counters.mean_acceptance_length,
            "alpha": self.counters.alpha,
            "per_position": self.counters.acceptance_intervals_per_pos,
            "counters": asdict(self.counters),
            "times": asdict(self.times),
        }


def measure_acceptance(
    runner: ModelRunner,
    proposer: Proposer | None,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    eos_token_ids: frozenset[int],
    streams: int = 8,
) -> MeasuredAcceptance:
    """Measure a proposer on greedy texts behind prompts.

    Args:
        runner: the target.
        proposer: who drafts; None measures the target alone.
        prompts: token ids.
        max_tokens: longest text.
        eos_token_ids: tokens that end a text.
        streams: requests at once.
    """
    longest = max(map(len, prompts)) + max_tokens + 1
    config = EngineConfig(
        "target", max_num_seqs=streams, max_model_len=min(longest, runner.max_model_len)
    )
    engine = Engine(config, runner, eos_token_ids=eos_token_ids, proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=max_tokens)
    for prompt in prompts:
        engine.add_request(prompt, params)
    while engine.has_unfinished_requests:
        engine.step()
    return MeasuredAcceptance(engine.counters, engine.times)
