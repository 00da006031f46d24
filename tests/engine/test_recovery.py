"""A fault in a proposer, a request or a step ends those requests, and the next one is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fairdraft import LLM, SamplingParams
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.engine.engine import Engine
from fairdraft.errors import EngineError, GenerationError, ProposerError, RequestError
from fairdraft.proposers import Proposer, Settled
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise
from fairdraft.testing import ToyRunner, toy_config, toy_continuation

PARAMS = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
PROMPTS = [[1, 2, 3, i] for i in range(4)]


class Third(Proposer):
    """Fails at the third call of one of its hooks."""

    def __init__(self, num_speculative_tokens: int, hook: str = "propose") -> None:
        super().__init__(num_speculative_tokens)
        self.hook = hook
        self.calls = 0

    def _call(self, hook: str) -> None:
        self.calls += hook == self.hook
        if hook == self.hook and self.calls == 3:
            raise ZeroDivisionError("a bug of the drafter's")

    def start(self, request: Request) -> None:
        self._call("start")

    def observe(self, rows: Settled) -> None:
        self._call("observe")

    def finish(self, request_id: str) -> None:
        self._call("finish")

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        self._call("propose")
        return [Draft((1,)) for _ in requests]


def run(engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams = PARAMS) -> Any:
    requests = [engine.add_request(prompt, params) for prompt in prompts]
    while engine.has_unfinished_requests:
        with suppress(EngineError):  # its requests say so
            engine.step()
    engine.scheduler.check_integrity()
    assert engine.scheduler.kv.pool.num_free == engine.scheduler.kv.pool.num_blocks
    return requests


@pytest.mark.parametrize("hook", ["start", "observe", "propose"])
def test_a_proposer_that_raises_is_named_and_the_next_request_is_served(hook: str) -> None:
    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=Third(4, hook))
    for request in run(engine, PROMPTS):
        assert request.finish_reason == "error"
        assert isinstance(request.error, ProposerError)
        assert isinstance(request.error.__cause__, ZeroDivisionError)
        assert f"Third failed in {hook}()" in str(request.error)
        text = request.output_token_ids
        assert text == toy_continuation(request, len(text)), "what it gained before stands"
    for request in run(engine, PROMPTS):
        assert request.finish_reason == "length"
        assert request.output_token_ids == toy_continuation(request, 12)


def test_a_proposer_that_fails_to_forget_costs_nobody_a_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=Third(4, "finish"))
    for request in run(engine, PROMPTS):
        assert request.finish_reason == "length"
    assert "Third failed in finish()" in caplog.text


RUBBISH: dict[str, Any] = {
    "nothing": None,
    "too few": [],
    "no drafts": [(1, 2)],
    "a word": [Draft(("a",))],  # type: ignore[arg-type]
    "a token beyond the vocabulary": [Draft((1, 32))],
    "a truth value": [Draft((True,))],
    "a negative token": [Draft((-1,))],
    "a tree": [Draft((1, 2), (-1, -1))],
    "laws for other tokens": [Draft((1, 2), probs=[[1.0]])],
}


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_a_proposer_that_drafts_rubbish_is_named(rubbish: str) -> None:
    class Rubbish(Third):
        def propose(self, *_: Any) -> list[Draft]:
            return RUBBISH[rubbish]  # type: ignore[no-any-return]

    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=Rubbish(4))
    (request,) = run(engine, PROMPTS[:1])
    assert isinstance(request.error, ProposerError)
    assert "Rubbish failed in propose()" in str(request.error)


def test_an_interrupt_in_the_middle_of_a_step_ends_its_requests() -> None:
    runner = ToyRunner()
    engine = Engine(toy_config(max_model_len=64), runner)
    work = runner.run
    requests = [engine.add_request(prompt, PARAMS) for prompt in PROMPTS]
    engine.step()

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    runner.run = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    runner.run = work  # type: ignore[method-assign]
    assert {request.finish_reason for request in requests} == {"error"}
    assert not engine.has_unfinished_requests
    for request in run(engine, PROMPTS):
        assert request.output_token_ids == toy_continuation(request, 12)


def test_a_model_that_fails_ends_the_step_with_its_reason() -> None:
    runner = ToyRunner()
    engine = Engine(toy_config(max_model_len=64), runner)
    work, calls = runner.run, iter([False, False, True])

    def failing(*args: Any) -> Any:
        if next(calls, False):
            raise MemoryError("out of memory")
        return work(*args)

    runner.run = failing  # type: ignore[method-assign]
    for request in run(engine, PROMPTS):
        assert isinstance(request.error, EngineError)
        assert "MemoryError: out of memory" in str(request.error)
        assert request.output_token_ids == toy_continuation(request, 2)
    assert all(request.error is None for request in run(engine, PROMPTS))


def test_bans_that_leave_no_token_end_that_request_alone() -> None:
    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=Third(4, "finish"))
    banned = SamplingParams(
        temperature=1, max_tokens=5, logit_bias=dict.fromkeys(range(32), -1000000.0)
    )
    inf = SamplingParams(temperature=1, max_tokens=5, min_tokens=5, stop_token_ids=range(32))
    others = [engine.add_request(prompt, PARAMS) for prompt in PROMPTS]
    requests = [engine.add_request([5, 6], params) for params in (banned, inf)]
    while engine.has_unfinished_requests:
        engine.step()
    engine.scheduler.check_integrity()
    assert isinstance(requests[1].error, RequestError)
    assert "no token can be sampled" in str(requests[1].error)
    for request in others:
        assert request.output_token_ids == toy_continuation(request, 12)


def test_greedy_bans_that_leave_no_token_are_told_too() -> None:
    engine = Engine(toy_config(max_model_len=64), ToyRunner())
    params = SamplingParams(temperature=0, max_tokens=5, min_tokens=5, stop_token_ids=range(32))
    (request,) = run(engine, PROMPTS[:1], params)
    assert "no token can be sampled" in str(request.error)


def test_a_proposer_that_writes_the_text_is_named() -> None:
    class Writing(Third):
        def propose(self, requests: Sequence[Request], *_: Any) -> list[Draft]:
            requests[0].token_ids.append(7)
            return [EMPTY_DRAFT] * len(requests)

    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=Writing(4))
    (request,) = run(engine, PROMPTS[:1])
    assert "Writing failed in propose()" in str(request.error)


def test_generate_raises_with_what_the_others_gained(tiny: Callable[[str], Path]) -> None:
    llm = LLM(str(tiny("llama")), dtype="float32", max_model_len=64)
    good = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)
    bad = SamplingParams(temperature=1, max_tokens=6, min_tokens=6, stop_token_ids=range(320))
    with pytest.raises(GenerationError, match="no token can be sampled") as told:
        llm.generate([[5, 6, 7], [5, 6, 8]], [good, bad])
    first, second = (output.outputs[0] for output in told.value.outputs)
    assert (first.finish_reason, len(first.token_ids)) == ("length", 6)
    assert (second.finish_reason, second.token_ids) == ("error", [])
    assert isinstance(second.error, RequestError)
    with pytest.raises(RequestError, match="no token can be sampled"):
        list(llm.stream([5, 6, 8], bad))
    assert llm.generate([5, 6, 7], good)[0].outputs[0].token_ids == first.token_ids


def test_an_empty_draft_is_a_draft() -> None:
    class Silent(Third):
        def propose(self, requests: Sequence[Request], *_: Any) -> list[Draft]:
            return [EMPTY_DRAFT] * len(requests)

    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=Silent(4))
    assert all(request.error is None for request in run(engine, PROMPTS))
