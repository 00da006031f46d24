"""Scheduler and block pool under arbitrary verdicts: a machine that knows only the rules."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairdraft.config import SamplingParams
from fairdraft.draft import Draft, Verdict
from fairdraft.engine.scheduler import ScheduledRequest, Scheduler
from fairdraft.errors import RequestError
from fairdraft.kv import KVManager
from fairdraft.request import Request, Status

BLOCKS, BLOCK_SIZE, SEATS, BUDGET, LONGEST = 12, 3, 4, 10, 30


def make(blocks: int = BLOCKS, lookahead: int = 0, **options: int) -> Scheduler:
    limits = {"max_num_seqs": SEATS, "max_num_batched_tokens": BUDGET, "max_model_len": LONGEST}
    kv = KVManager(blocks, BLOCK_SIZE, enable_prefix_caching=True)
    return Scheduler(kv, **(limits | options), num_lookahead_tokens=lookahead)


def update(
    scheduler: Scheduler, step: list[ScheduledRequest], verdicts: list[Verdict | None]
) -> None:
    """Let the scheduler count, with cuts where tokens alone end a request."""
    cuts = [v and scheduler.cut(entry, v) for entry, v in zip(step, verdicts, strict=True)]
    scheduler.update_from_output(step, verdicts, cuts)


class SchedulerMachine(RuleBasedStateMachine):
    """Adds, aborts and steps at will; drafts, acceptances and ends are arbitrary."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = make(lookahead=2)
        self.live: dict[str, Request] = {}
        self.count = 0

    @rule(
        prompt=st.lists(st.integers(0, 2), min_size=1, max_size=20),
        max_tokens=st.integers(1, 12),
    )
    def add(self, prompt: list[int], max_tokens: int) -> None:
        self.count += 1
        request = Request(
            str(self.count), tuple(prompt), SamplingParams(max_tokens=max_tokens, temperature=0)
        )
        self.scheduler.add(request)
        self.live[request.request_id] = request

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        request = self.live.pop(data.draw(st.sampled_from(sorted(self.live))))
        self.scheduler.finish(request)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        self.run_step(lambda n: data.draw(st.integers(0, n)))

    def run_step(self, choose) -> None:  # type: ignore[no-untyped-def]
        owed = {r.request_id for r in self.scheduler.running}
        oldest = self.scheduler.running[0] if self.scheduler.running else None
        step = self.scheduler.schedule()
        assert step, "live requests, yet nothing runs"
        self.check(step)
        ran = {entry.request.request_id for entry in step}
        still = {r.request_id for r in self.scheduler.running}
        assert owed & still <= ran, "a running request got no token"
        assert oldest is None or oldest.request_id in ran, "the oldest request starves"
        verdicts: list[Verdict | None] = []
        for entry in step:
            if entry.num_logit_rows == 0:
                verdicts.append(None)
                continue
            accepted = choose(len(entry.draft))
            verdicts.append(Verdict(tuple(range(accepted)), choose(2)))
        before = {e.request.request_id: e.request.num_tokens for e in step}
        update(self.scheduler, step, verdicts)
        for entry, verdict in zip(step, verdicts, strict=True):
            request = entry.request
            if verdict is not None:
                gained = request.num_tokens - before[request.request_id]
                assert 1 <= gained <= verdict.num_accepted + 1
                if request.finish_reason is None:
                    assert request.num_computed_tokens == request.num_tokens - 1
            if request.finish_reason is not None:
                self.scheduler.finish(request)
                del self.live[request.request_id]
        for request in self.scheduler.running:
            if request.decoding:
                request.hold(Draft((0, 1, 2, 0, 1)[: choose(5)]))

    def check(self, step: list[ScheduledRequest]) -> None:
        assert sum(entry.num_new_tokens for entry in step) <= BUDGET
        assert len(self.scheduler.running) <= SEATS
        for entry in step:
            request = entry.request
            assert entry.num_new_tokens >= 1
            end = entry.start + entry.num_new_tokens
            assert len(entry.token_ids) == entry.num_new_tokens
            assert end <= LONGEST
            assert len(request.block_table) * BLOCK_SIZE >= end + 2, "rows or lookahead lack slots"
            assert request.num_computed_tokens == end <= request.num_tokens_with_spec

    @invariant()
    def books_balance(self) -> None:
        self.scheduler.check_integrity()
        assert {r.request_id for r in self.scheduler.requests} == set(self.live)
        for request in self.live.values():
            assert request.num_computed_tokens <= request.num_tokens
            assert (request.status is Status.RUNNING) == (request in self.scheduler.running)

    def teardown(self) -> None:
        """With nothing new coming, everybody finishes, and every block comes back."""
        for _ in range(2_000):
            if not self.live:
                break
            self.run_step(lambda n: n // 2)
        assert not self.live, "starvation"
        assert self.scheduler.kv.pool.num_free == BLOCKS


SchedulerMachine.TestCase.settings = settings(
    max_examples=250, stateful_step_count=80, deadline=None
)
TestSchedulerMachine = SchedulerMachine.TestCase


def request(length: int, max_tokens: int = 4, name: str = "r") -> Request:
    prompt = (ord(name), *range(1, length))[:length]  # no two names share a prefix
    return Request(name, prompt, SamplingParams(max_tokens=max_tokens))


def test_refuses_what_can_never_run() -> None:
    make(blocks=4).check(request(4, max_tokens=4))
    with pytest.raises(RequestError, match="the pool has 4"):
        make(blocks=4).check(request(10, max_tokens=8))


def test_drafts_are_trimmed_to_the_budget() -> None:
    scheduler = make(max_num_batched_tokens=4, max_num_seqs=2)
    for name in "ab":
        scheduler.add(request(2, name=name))
    step = scheduler.schedule()
    update(scheduler, step, [Verdict((), 7), Verdict((), 7)])
    for r in scheduler.running:
        r.hold(Draft((1, 2, 3, 4)))
    first, second = scheduler.schedule()
    assert first.draft.token_ids == (1, 2)
    assert second.draft.token_ids == ()
    assert [first.num_logit_rows, second.num_logit_rows] == [3, 1]


def test_drafts_are_trimmed_to_the_blocks() -> None:
    scheduler = make(blocks=2)
    scheduler.add(request(4, max_tokens=2))
    update(scheduler, scheduler.schedule(), [Verdict((), 7)])
    scheduler.running[0].hold(Draft((1, 2, 3, 4)))
    (entry,) = scheduler.schedule()
    assert entry.draft.token_ids == (1,)


def test_drafts_are_trimmed_to_max_model_len() -> None:
    scheduler = make()
    scheduler.add(request(27, max_tokens=3))
    for _ in range(3):
        step = scheduler.schedule()
        rows = [Verdict((), 7) if entry.num_logit_rows else None for entry in step]
        update(scheduler, step, rows)
    scheduler.running[0].hold(Draft((1, 2, 3, 4)))
    (entry,) = scheduler.schedule()
    assert entry.draft.token_ids == (1, 2)


def test_the_youngest_is_preempted_and_comes_back_first() -> None:
    scheduler = make(blocks=5, max_num_seqs=2)
    for name in "abc":
        scheduler.add(request(5, max_tokens=6, name=name))
    for _ in range(4):
        step = scheduler.schedule()
        rows = [Verdict((), 7) if entry.num_logit_rows else None for entry in step]
        update(scheduler, step, rows)
    assert [r.request_id for r in scheduler.running] == ["a"]
    assert [r.request_id for r in scheduler.waiting] == ["b", "c"]
    assert scheduler.num_preemptions == 1
