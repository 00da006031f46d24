"""Replay and live decide the same on the same trace, token for token, from one piece of code.

The engine runs a toy target whose steps take what a profile says, on a clock that only they move.
The traced method is right and wrong at places that a trace of its longest drafts shows in full, so
that replay knows what a draft from any place comes to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft
from fairdraft.economics.autopilot.draft_potential import read_trace
from fairdraft.economics.autopilot.policies import Auto
from fairdraft.economics.autopilot.replay import replay
from fairdraft.economics.autopilot.traced_drafts import ReplayClock
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.live_costs import UNREAD_ROWS, LiveCosts, reading_seconds
from fairdraft.economics.costs.profile import Profile
from fairdraft.engine import engine as engine_module
from fairdraft.engine.engine import Engine
from fairdraft.models.batch import FlatBatch, RunOutput
from fairdraft.proposers import Proposer
from fairdraft.proposers.auto import AutoProposer
from fairdraft.proposers.base import PerRequestProposer, Settled
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.telemetry import StepTrace
from fairdraft.telemetry.environment import benchmark_environment
from fairdraft.testing import ToyRunner, toy_config, toy_continuation

K, BLOCK = 6, 8
AT_ONCE = 3
Places = Callable[[Request, int], bool]  # whether a draft is wrong at a place of the output


class Traced(PerRequestProposer):
    """Drafts the toy's continuation, but for some places; it takes what the profile says."""

    clock: ReplayClock
    costs: CostSurface

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Draft, and let the time pass."""
        drafts = super().propose(requests, budgets, slots, noise)
        rows = max(*map(len, drafts), self.costs.rows[0])
        context = sum(request.num_tokens for request in requests) / len(requests)
        self.clock.seconds += self.costs.seconds(len(requests), rows, context)
        return drafts

    def right(self, request: Request, length: int, wrong: Places) -> Draft:
        """Draft so many tokens, wrong at some places."""
        twin = Request("twin", tuple(request.token_ids), request.params, request.seed)
        begin = request.num_output_tokens
        return Draft(
            tuple(
                (token + 1) % 32 if wrong(request, begin + i) else token
                for i, token in enumerate(toy_continuation(twin, length))
            )
        )


class Phrases(Traced):
    """A lookup: what it finds ends at places of its own, and some of it is wrong."""

    is_lookup = True

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """Draft to the end of a phrase, if one is under way."""
        begin = request.num_output_tokens
        length = (begin // BLOCK + 1) * BLOCK - 2 - begin
        return self.right(request, min(max(length, 0), budget), self.wrong)

    def wrong(self, request: Request, place: int) -> bool:
        """Tell whether a phrase is wrong there; those of every third request are from the start."""
        number = int(request.request_id)
        first = 0 if number % 3 == 0 else (5 * number + place // BLOCK) % BLOCK
        return place % BLOCK == first


class Head(Traced):
    """A drafter: wrong every few tokens; what nobody asks for is read later, as heads do."""

    def __init__(self, num_speculative_tokens: int) -> None:
        super().__init__(num_speculative_tokens)
        self.unread: dict[str, int] = {}

    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """Draft as far as the budget goes."""
        return self.right(request, budget, self.wrong)

    def wrong(self, request: Request, place: int) -> bool:
        """Tell whether it is wrong there: in every sixth place, or in every second."""
        return place % (2 if int(request.request_id) % 2 else K) == 1

    def observe(self, rows: Settled) -> None:
        """Read what waits of these requests, and the rows."""
        self.catch_up(rows.request_ids)

    def defer(self, rows: Settled) -> None:
        """Read the rows later, the last of them."""
        for name, (first, last) in zip(
            rows.request_ids, itertools.pairwise(rows.cu_rows), strict=True
        ):
            self.unread[name] = min(self.unread.get(name, 0) + last - first, UNREAD_ROWS)

    def num_deferred(self, request_ids: Sequence[str]) -> int:
        """Count the rows that wait."""
        return sum(self.unread.get(name, 0) for name in request_ids)

    def catch_up(self, request_ids: Sequence[str]) -> None:
        """Read what waits, and let the time pass."""
        if rows := sum(self.unread.pop(name, 0) for name in request_ids):
            token = self.costs.seconds(1, self.costs.rows[0], 0)
            self.clock.seconds += reading_seconds(token, rows)


class TimedRunner(ToyRunner):
    """The toy target, whose steps take what the profile says."""

    def __init__(self, clock: ReplayClock, step: CostSurface) -> None:
        super().__init__()
        self.clock, self.step = clock, step

    def run(self, batch: FlatBatch, layers: Collection[int] = ()) -> RunOutput:
        """Run, and let the time pass."""
        count, rows = batch.num_requests, batch.cu_rows[-1]
        context = sum(int(batch.positions[first]) + 1 for first in batch.cu_rows[:-1]) / count
        self.clock.seconds += self.step.seconds(count, 1 + (rows - count) / count, context, True)
        return super().run(batch, layers)


def profile_of(method: str, growth: float, c: float) -> Profile:
    step = CostSurface(
        Point(b, n, x, (1 + growth * b * (n - 1) + x / 1000,))
        for b in (1, AT_ONCE)
        for n in (1, 3, K + 1)
        for x in (16, 128)
    )
    drafting = CostSurface(
        Point(b, n, 128, (c * (1 + n + b / 2),)) for b in (1, AT_ONCE) for n in (1, K)
    )
    return Profile("toy", "float32", benchmark_environment(), step, step, {method: drafting})


def traced(runner: ToyRunner, proposer: Proposer, path: Path) -> list[str]:
    """The step trace of ten texts, three at once."""
    with StepTrace(path) as trace:
        config = toy_config(max_num_seqs=AT_ONCE)
        engine = Engine(config, runner, proposer=proposer, trace=trace)
        for i in range(10):
            params = SamplingParams(temperature=0, max_tokens=BLOCK * (3 + i % 4), ignore_eos=True)
            engine.add_request((i, 1, 2), params, str(i))
        while engine.has_unfinished_requests:
            engine.step()
    return path.read_text().splitlines()


@pytest.mark.parametrize("method", [Phrases, Head])
@pytest.mark.parametrize(("growth", "c"), [(0.05, 0.005), (0.02, 0.05), (0.08, 0.02), (1.0, 0.02)])
def test_replay_decides_what_the_engine_did(
    method: type[Traced],
    growth: float,
    c: float,
    register: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    register(traced=method)
    profile, clock = profile_of("traced", growth, c), ReplayClock()
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile.to_json()))
    monkeypatch.setattr(engine_module, "perf_counter", clock)
    monkeypatch.setattr(Traced, "clock", clock, raising=False)
    monkeypatch.setattr(Traced, "costs", profile.drafters["traced"], raising=False)
    runner = TimedRunner(clock, profile.step)

    longest = traced(runner, method(K), tmp_path / "longest")
    proposer = AutoProposer(K, ["traced"], str(path))
    proposer.clock = clock
    live = traced(runner, proposer, tmp_path / "live")

    drafters = {} if method.is_lookup else profile.drafters
    auto = Auto(LiveCosts(profile.step, dict(drafters), K), "traced", method.is_lookup, K)
    texts = read_trace(longest, "t", lookup=method.is_lookup)
    done = replay(texts, auto, profile, "traced", AT_ONCE)

    assert done.steps > 30
    for line, decided in zip(live[: done.steps], done.drafted, strict=True):
        ran: dict[str, Any] = {
            f"t {entry['request_id']}": entry for entry in json.loads(line)["requests"]
        }
        assert {name: len(ran[name]["draft_token_ids"]) for name in decided} == decided
        assert not any(ran[name]["draft_token_ids"] for name in ran.keys() - decided.keys())
    lengths = {length for decided in done.drafted for length in decided.values()}
    if growth < 1:
        assert len(lengths) > 2
