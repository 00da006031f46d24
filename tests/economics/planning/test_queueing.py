"""The simulated server against the engine's own scheduler, and against what must hold."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.economics.costs.serving_costs import ServingCosts
from fairdraft.economics.planning import queueing
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.queueing import Limits, poisson_arrivals, simulate
from fairdraft.economics.planning.rounds import RoundLaw, round_laws
from fairdraft.economics.planning.served import percentile
from fairdraft.engine.scheduler import Scheduler
from fairdraft.errors import ConfigError
from fairdraft.kv import KVManager
from fairdraft.request import Request
from tests.economics.planning.conftest import METHOD, costs

K = 3
PRICES = ServingCosts(costs(), METHOD, K)
PLAIN = ServingCosts(costs(), None, 0)
LAWS = round_laws(Acceptance.of_counts(100, (60, 40, 20), 150, (100, 80, 50)), K)


def by_the_scheduler(
    made: list[queueing._Request], limits: Limits, prices: ServingCosts
) -> tuple[float, int, int, list[float], list[float]]:
    """Serve with the engine's scheduler, a step at a time.

    Returns:
        Seconds, steps, preemptions, and, by request, time to first token and latency.
    """
    blocks = 10_000 if limits.kv_tokens is None else limits.kv_tokens // limits.block_size
    scheduler = Scheduler(
        KVManager(blocks, limits.block_size, False),
        limits.max_num_seqs,
        limits.max_num_batched_tokens,
        100_000,
        limits.num_lookahead_tokens,
    )
    coming = deque(enumerate(made))
    plans = {
        str(i): deque(zip(r.given.tolist(), r.drafted.tolist(), strict=True))
        for i, r in enumerate(made)
    }
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    now, steps = 0.0, 0
    while coming or scheduler.running or scheduler.waiting:
        if not (scheduler.running or scheduler.waiting):
            now = max(now, coming[0][1].arrival)
        while coming and coming[0][1].arrival <= now:
            i, each = coming.popleft()
            params = SamplingParams(max_tokens=each.output, ignore_eos=True)
            scheduler.add(Request(str(i), (1,) * each.prompt, params))
        behind = {r.request_id: r.num_tokens - r.num_computed_tokens for r in scheduler.requests}
        step = scheduler.schedule()
        decoding, chunks = [], []
        for entry in step:
            begun = entry.request.num_output_tokens > 0
            if begun and behind[entry.request.request_id] == 1 and not entry.begins:
                decoding.append(entry)
            else:
                chunks.append((entry.num_new_tokens, entry.start))
        drafted = sum(len(entry.draft) for entry in decoding)
        count = len(decoding)
        context = sum(entry.request.num_tokens for entry in decoding) / max(count, 1)
        if chunks:
            now += prices.mixed(chunks, count, drafted, context)
        else:
            now += float(prices.decode(count, np.array([drafted]), np.array([context]))[0])
        steps += 1
        verdicts: list[Verdict | None] = []
        for entry in step:
            name = entry.request.request_id
            if not entry.num_logit_rows:
                verdicts.append(None)
                continue
            accepted = 0
            if entry.request.num_output_tokens:
                given, _ = plans[name].popleft()
                accepted = min(given - 1, len(entry.draft))
                if accepted < given - 1:  # what a cut draft lost comes in a step more
                    rest = given - 1 - accepted
                    plans[name].appendleft((rest, rest - 1))
            else:
                first[name] = now - made[int(name)].arrival
            verdicts.append(Verdict(tuple(range(accepted)), 5))
        cuts = [
            None if verdict is None else scheduler.cut(entry, verdict)
            for entry, verdict in zip(step, verdicts, strict=True)
        ]
        scheduler.update_from_output(step, verdicts, cuts)
        for entry, verdict in zip(step, verdicts, strict=True):
            request = entry.request
            if request.finish_reason is not None:
                last[request.request_id] = now - made[int(request.request_id)].arrival
                scheduler.finish(request)
            elif verdict is not None and plans[request.request_id]:
                # The engine drafts for the last token of a prompt too, if it comes alone.
                request.hold(Draft((7,) * plans[request.request_id][0][1]))
        scheduler.check_integrity()
    names = [str(i) for i in range(len(made))]
    return (
        now,
        steps,
        scheduler.num_preemptions,
        [first[name] for name in names],
        [last[name] for name in names],
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.integers(1, 30), st.floats(0, 1.5)), min_size=1, max_size=9
    ),
    st.integers(1, 5),
    st.integers(0, 40),
    st.sampled_from([None, 160, 240, 640]),
    st.booleans(),
    st.integers(0, 5),
)
def test_it_runs_what_the_engines_scheduler_would(
    shapes: list[tuple[int, int, float]],
    seats: int,
    more_rows: int,
    kv: int | None,
    drafts: bool,
    seed: int,
) -> None:
    """Steps, preemptions, seconds and each request's waits, whatever runs short."""
    limits = Limits(seats, seats + more_rows, kv, 8, 2)
    arrivals = np.sort(np.array([at for *_, at in shapes]))
    prompts, outputs = (np.array([each[i] for each in shapes]) for i in (0, 1))
    prices, laws = (PRICES, LAWS) if drafts else (PLAIN, [RoundLaw.plain()])
    made: list[queueing._Request] = []
    server = queueing._Server

    class Kept(server):
        """The same server; it lets its requests be seen as they were drawn."""

        def __init__(self, requests, *rest):  # type: ignore[no-untyped-def]
            made.extend(requests)
            super().__init__(requests, *rest)

        def run(self):  # type: ignore[no-untyped-def]
            self.told = by_the_scheduler(made, limits, prices)
            found = super().run()
            return found, self.told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queueing, "_Server", Kept)
        found, told = simulate(  # type: ignore[misc]
            prompts, outputs, prices, laws, limits, arrivals=arrivals, seed=seed
        )
    seconds, steps, preemptions, first, latency = told
    assert (found.steps, found.preemptions, found.tokens) == (steps, preemptions, outputs.sum())
    assert found.seconds == pytest.approx(seconds)
    assert sorted(found.ttft) == pytest.approx(sorted(first))
    assert sorted(found.latency) == pytest.approx(sorted(latency))


def test_one_request_alone_takes_what_its_steps_take() -> None:
    found = simulate(
        np.array([100]), np.array([5]), PLAIN, [RoundLaw.plain()], Limits(), concurrency=1
    )
    prompt = PLAIN.mixed([(100, 0)])
    steps = [
        float(PLAIN.decode(1, np.array([0]), np.array([context]))[0])
        for context in (101.0, 102.0, 103.0, 104.0)
    ]
    assert found.ttft == pytest.approx([prompt])
    assert found.latency == pytest.approx([prompt + sum(steps)])
    assert found.inter_token == pytest.approx([sum(steps) / 4])
    assert found.inter_chunk == pytest.approx(steps)
    assert (found.tokens, found.steps) == (5, 5)


def test_the_same_seed_gives_the_same_answer() -> None:
    prompts, outputs = np.full(50, 200), np.full(50, 40)

    def run(seed: int) -> tuple[float, float]:
        found = simulate(
            prompts,
            outputs,
            PRICES,
            LAWS,
            Limits(4),
            arrivals=poisson_arrivals(2.0, 50, seed),
            seed=seed,
        )
        return found.seconds, percentile(found.ttft, 99)

    assert run(0) == run(0) != run(1)


def test_a_queue_forms_where_more_arrive_than_are_finished() -> None:
    prompts, outputs = np.full(200, 200), np.full(200, 40)

    def ttft(rate: float) -> float:
        found = simulate(
            prompts, outputs, PRICES, LAWS, Limits(4), arrivals=poisson_arrivals(rate, 200)
        )
        return percentile(found.ttft, 50)

    full = simulate(prompts, outputs, PRICES, LAWS, Limits(4), concurrency=4, drain=False)
    capacity = full.tokens_per_second / 40
    assert ttft(capacity / 4) < 1.5 * PRICES.mixed([(200, 0)])
    assert ttft(2 * capacity) > 10 * ttft(capacity / 4)


def test_tokens_a_step_are_those_of_the_acceptance() -> None:
    acceptance = Acceptance.of_counts(1000, (700, 500, 300), 1600, (1000, 900, 600))
    for k in (1, 2, 3):
        (law,) = round_laws(acceptance, k)
        drafted, accepted = law.draw(np.random.default_rng(0).random(200_000))
        assert 1 + accepted.mean() == pytest.approx(acceptance.draw(k).tokens(k)[0], rel=0.01)
        share, length = acceptance.draw(k).drafting(k)
        assert (drafted > 0).mean() == pytest.approx(share, rel=0.01)
        assert drafted[drafted > 0].mean() == pytest.approx(length, rel=0.01)
        assert (accepted <= drafted).all()


def test_kinds_of_text_are_shared_out() -> None:
    slow, fast = Acceptance.of_alpha(0.0), Acceptance.of_alpha(1.0)
    laws = round_laws(Acceptance.mix([(0.25, slow), (0.75, fast)]), K)
    found = simulate(
        np.full(400, 10), np.full(400, 41), PRICES, laws, Limits(1), concurrency=1, drain=True
    )
    assert found.steps == 400 + 100 * 40 + 300 * 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Limits(0), "max_num_seqs is 0"),
        (lambda: Limits(8, 4), "max_num_batched_tokens is 4, fewer than the 8 requests"),
        (
            lambda: simulate(
                np.array([500]), np.array([5]), PLAIN, [], Limits(kv_tokens=256), concurrency=1
            ),
            "reaches 505 tokens, 32 blocks of 16, but a KV pool of 256 tokens has 16",
        ),
        (
            lambda: ServingCosts(replace(costs(), prompts=None), METHOD, 2),
            "does not say what reading a prompt takes",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        make()
