"""A drafter's own max_model_len: no draft token lies at or beyond that position."""

from __future__ import annotations

import pytest

from fairdraft.config import SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.testing import ToyProposer, ToyRunner, toy_config


class Watched(ToyProposer):
    """Notes the position behind the last one that each draft may take."""

    ends: list[int]

    def propose(self, requests, budgets, slots, noise):  # type: ignore[no-untyped-def]
        self.ends.extend(r.num_tokens + b for r, b in zip(requests, budgets, strict=True))
        return super().propose(requests, budgets, slots, noise)


def run(limit: int | None) -> tuple[list[int], list[int]]:
    """Tokens of one request, and the ends of its drafts."""
    proposer = Watched(4, accuracy=0.7)
    proposer.ends = []
    config = toy_config(speculative_config={"method": "toy", "max_model_len": limit})
    engine = Engine(config, ToyRunner(), proposer=proposer)
    params = SamplingParams(temperature=0, max_tokens=30, ignore_eos=True)
    request = engine.add_request(range(6), params)
    while engine.has_unfinished_requests:
        engine.step()
    return request.output_token_ids, proposer.ends


@pytest.mark.parametrize("limit", [7, 10, 20])
def test_drafts_end_at_the_drafters_limit_and_the_text_does_not(limit: int) -> None:
    text, ends = run(limit)
    plain, unlimited = run(None)
    assert text == plain
    assert max(unlimited) > 20
    assert all(end <= limit for end in ends)
    assert bool(ends) == (limit > 7)
