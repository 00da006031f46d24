"""Whoever steps the engine, every caller gets exactly its own tokens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fairdraft import LLM, AsyncLLM, SamplingParams
from fairdraft.engine.engine import Engine
from fairdraft.engine.router import Router
from fairdraft.engine.step_output import StepOutput
from fairdraft.errors import EngineError, GenerationError
from fairdraft.testing import ToyProposer, ToyRunner, toy_config

COUNT = 24
LONG = SamplingParams(temperature=0, max_tokens=60, ignore_eos=True)


def prompt(i: int) -> list[int]:
    """Some begin alike, so that blocks are shared, and all repeat themselves."""
    return [2 + i % 3, *range(9, 9 + 5 * (i % 4 + 1)), *[40 + i, 50, 60] * 3]


def params(i: int) -> SamplingParams:
    return SamplingParams(
        temperature=(0, 0.8)[i % 2], seed=i, max_tokens=8 + i % 9, ignore_eos=True
    )


@pytest.fixture(scope="module")
def llm(tiny: Callable[[str], Path]) -> Iterator[LLM]:
    """A pool that preempts, small chunks, drafts of which some stand."""
    with LLM(
        str(tiny("llama")),
        dtype="float32",
        max_model_len=128,
        max_num_seqs=6,
        max_num_batched_tokens=24,
        num_gpu_blocks_override=24,
        block_size=4,
        speculative_config={"method": "ngram", "prompt_lookup_min": 1, "prompt_lookup_max": 3},
    ) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def alone(llm: LLM) -> list[list[int]]:
    """What each prompt gets with the engine to itself."""
    return [list(llm.generate(prompt(i), params(i))[0].outputs[0].token_ids) for i in range(COUNT)]


def idle(llm: LLM) -> None:
    """Wait for the stepping thread to end, and see that no block is left."""
    for thread in threading.enumerate():
        if thread.name == "fairdraft-engine":
            thread.join()
    assert not llm.engine.has_unfinished_requests
    llm.engine.scheduler.check_integrity()
    assert llm.engine.scheduler.kv.pool.num_free == 24


def test_eight_interleaved_streams(llm: LLM, alone: list[list[int]]) -> None:
    streams = {i: llm.stream(prompt(i), params(i)) for i in range(8)}
    texts: dict[int, list[int]] = {i: [] for i in streams}
    while streams:
        for i, stream in list(streams.items()):
            event = next(stream, None)
            if event is None:
                del streams[i]
                continue
            assert event.num_accepted <= len(event.token_ids)
            texts[i] += event.token_ids
    assert texts == {i: alone[i] for i in range(8)}
    idle(llm)


def test_streams_threads_and_tasks_at_once_with_aborts_and_preemption(
    llm: LLM, alone: list[list[int]]
) -> None:
    before = llm.engine.scheduler.num_preemptions

    def thread(number: int) -> list[tuple[int, list[int]]]:
        mine = range(number, COUNT, 4)
        outputs = llm.generate([prompt(i) for i in mine], [params(i) for i in mine])
        return [(i, out.outputs[0].token_ids) for i, out in zip(mine, outputs, strict=True)]

    async def task(front: AsyncLLM, i: int) -> tuple[int, list[int]]:
        text: list[int] = []
        async for event in front.generate(prompt(i), params(i)):
            text += event.token_ids
            if i % 5 == 4:
                break
        return i, text

    async def tasks() -> list[tuple[int, list[int]]]:
        front = AsyncLLM.of(llm)
        return await asyncio.gather(*(task(front, i) for i in range(COUNT)))

    left = [llm.stream(prompt(i), LONG) for i in range(3)]
    for stream in left:
        next(stream)
    with ThreadPoolExecutor(5) as pool:
        threads = [pool.submit(thread, number) for number in range(4)]
        asynchronous = pool.submit(asyncio.run, tasks())
        streamed: dict[int, list[int]] = {i: [] for i in range(8)}
        streams = {i: llm.stream(prompt(i), params(i)) for i in streamed}
        while streams:
            for i, stream in list(streams.items()):
                event = next(stream, None)
                if event is None:
                    del streams[i]
                else:
                    streamed[i] += event.token_ids
        for stream in left:
            stream.close()  # type: ignore[attr-defined]
        for future in threads:
            assert all(text == alone[i] for i, text in future.result())
        for i, text in asynchronous.result():
            assert text == alone[i] if i % 5 < 4 else text and text == alone[i][: len(text)]
    assert streamed == {i: alone[i] for i in range(8)}
    assert llm.engine.scheduler.num_preemptions > before
    idle(llm)


def test_generate_inside_an_open_stream(llm: LLM, alone: list[list[int]]) -> None:
    stream = llm.stream(prompt(1), params(1))
    text = list(next(stream).token_ids)
    assert llm.generate(prompt(2), params(2))[0].outputs[0].token_ids == alone[2]
    for event in stream:
        text += event.token_ids
    assert text == alone[1]


def test_a_closed_stream_was_aborted(llm: LLM) -> None:
    stream = llm.stream(prompt(0), LONG)
    output = next(stream).output
    stream.close()  # type: ignore[attr-defined]
    assert output.outputs[0].finish_reason == "abort"
    assert output.finished
    assert not llm.engine.scheduler.running, "close waits until the blocks are back"
    idle(llm)


def test_ctrl_c_ends_the_waiting_and_the_next_answer_is_right(
    llm: LLM, alone: list[list[int]]
) -> None:
    import _thread

    started = threading.Event()
    step = llm.engine.step

    def interrupted() -> list[StepOutput]:
        outputs = step()
        if not started.is_set():
            started.set()
            _thread.interrupt_main()
        return outputs

    llm.engine.step = interrupted  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            llm.generate([prompt(i) for i in range(4)], LONG)
    finally:
        llm.engine.step = step  # type: ignore[method-assign]
    assert started.is_set()
    outputs = llm.generate([prompt(i) for i in range(4)], [params(i) for i in range(4)])
    assert [out.outputs[0].token_ids for out in outputs] == alone[:4]
    idle(llm)


def test_a_task_that_is_cancelled_aborts(llm: LLM) -> None:
    async def begin() -> None:
        events = AsyncLLM.of(llm).generate(prompt(0), LONG)
        async for _ in events:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(begin())
    idle(llm)


def test_a_sink_that_fails_has_lost_its_caller() -> None:
    engine = Engine(toy_config(max_model_len=64), ToyRunner(), proposer=ToyProposer(4))
    router = Router(engine)
    good: list[StepOutput] = []

    def bad(output: StepOutput) -> None:
        raise RuntimeError("the loop is closed")

    requests = [engine.admission.make_request([1, 2, 3, i], LONG, str(i)) for i in range(2)]
    router.submit(requests[:1], bad)
    router.submit(requests[1:], good.append)
    router.close()
    assert requests[0].finish_reason == "abort"
    assert {output.request.request_id for output in good} <= {"1"}
    assert engine.scheduler.kv.pool.num_free == engine.scheduler.kv.pool.num_blocks


def test_nothing_is_taken_after_close(tiny: Callable[[str], Path]) -> None:
    llm = LLM(str(tiny("llama")), dtype="float32", max_model_len=64)
    stream = llm.stream(prompt(0), SamplingParams(max_tokens=40, ignore_eos=True))
    next(stream)
    llm.close()
    llm.close()
    with pytest.raises(EngineError, match="closed"):
        llm.generate([1, 2, 3])


def test_close_ends_every_other_caller(tiny: Callable[[str], Path]) -> None:
    llm = LLM(str(tiny("llama")), dtype="float32", max_model_len=250)
    endless = SamplingParams(temperature=0, max_tokens=200, ignore_eos=True)
    stream = llm.stream(prompt(0), endless)
    next(stream)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(llm.generate, prompt(i), endless) for i in range(2)]
        while len(llm.engine.scheduler.running) < 3:
            threading.Event().wait(0.01)
        llm.close()
        for call in calls:
            (output,) = call.result(timeout=60)
            assert output.outputs[0].finish_reason == "abort"
    *_, last = stream
    assert last.output.outputs[0].finish_reason == "abort"


@pytest.mark.parametrize("fault", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_thread_elsewhere_ends_only_the_requests_of_its_step(
    fault: type[BaseException], llm: LLM, alone: list[list[int]]
) -> None:
    proposer = llm.engine.proposer
    assert proposer is not None
    calls = iter([False, False, True])
    propose = proposer.propose

    def failing(*args: Any) -> Any:
        if next(calls, False):
            raise fault
        return propose(*args)

    proposer.propose = failing  # type: ignore[method-assign]
    try:
        with pytest.raises(GenerationError, match=fault.__name__):
            llm.generate(prompt(0), LONG)
        assert llm.generate(prompt(0), params(0))[0].outputs[0].token_ids == alone[0]
    finally:
        proposer.propose = propose  # type: ignore[method-assign]
    idle(llm)


def test_a_stream_collected_under_the_routers_lock_does_not_wait_for_itself(llm: LLM) -> None:
    stream = llm.stream(prompt(0), LONG)
    next(stream)
    with llm.router._locked():
        stream.close()  # type: ignore[attr-defined]
    idle(llm)


def test_an_unfinished_stream_does_not_hold_up_the_end_of_a_program(
    tiny: Callable[[str], Path],
) -> None:
    import subprocess
    import sys

    program = (
        "from fairdraft import LLM, SamplingParams\n"
        f"llm = LLM({str(tiny('llama'))!r}, dtype='float32')\n"
        "stream = llm.stream([5, 6, 7], SamplingParams(max_tokens=200, ignore_eos=True))\n"
        "print(next(stream).token_ids)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[")


def test_threads_that_outlive_the_main_thread_are_served(tiny: Callable[[str], Path]) -> None:
    import subprocess
    import sys

    program = (
        "import threading\n"
        "from fairdraft import LLM, SamplingParams\n"
        f"llm = LLM({str(tiny('llama'))!r}, dtype='float32')\n"
        "params = SamplingParams(max_tokens=50, ignore_eos=True)\n"
        "def work():\n"
        "    print(len(llm.generate([5, 6, 7], params)[0].outputs[0].token_ids))\n"
        "threading.Thread(target=work).start()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "50\n", "")
