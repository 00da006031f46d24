"""The public face, on a tiny checkpoint and on the packaged small model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairdraft import LLM, RequestOutput, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.errors import CheckpointError, ConfigError, FairdraftError, RequestError

Tiny = Callable[[str], Path]
NGRAM = {
    "method": "ngram",
    "num_speculative_tokens": 4,
    "prompt_lookup_max": 3,
    "prompt_lookup_min": 1,
}
GREEDY = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)


@pytest.fixture(scope="module")
def llm(tiny: Tiny) -> LLM:
    return LLM(str(tiny("llama")), dtype="float32", speculative_config=NGRAM)


@pytest.fixture(scope="module")
def off(tiny: Tiny) -> LLM:
    return LLM(str(tiny("llama")), dtype="float32")


@pytest.fixture(scope="module")
def demo_on() -> LLM:
    return LLM("demo", dtype="float32", max_model_len=1024, speculative_config=NGRAM)


def ids(outputs: list[RequestOutput]) -> list[list[int]]:
    return [completion.token_ids for output in outputs for completion in output.outputs]


def test_every_form_of_prompt(llm: LLM) -> None:
    text = "one two"
    tokens = llm.tokenizer.encode(text)
    forms: list[Any] = [text, {"prompt": text}, {"prompt_token_ids": tokens}, tokens]
    expected = ids(llm.generate(text, GREEDY))[0]
    for form in forms:
        assert ids(llm.generate(form, GREEDY)) == [expected]
    together = llm.generate(forms, [GREEDY] * 4)
    assert ids(together) == [expected] * 4
    assert [output.prompt for output in together] == [text, text, None, None]
    assert all(output.finished for output in together)


def test_streamed_pieces_add_up(llm: LLM) -> None:
    whole = llm.generate("round and round", GREEDY)[0].outputs[0]
    events = list(llm.stream("round and round", GREEDY))
    assert "".join(event.text for event in events) == whole.text
    assert [token for event in events for token in event.token_ids] == whole.token_ids
    for event in events:
        kept = list(event.draft_token_ids[: event.num_accepted])
        assert event.token_ids[: event.num_accepted] == kept
    assert sum(len(e.draft_token_ids) for e in events) == whole.spec.num_draft_tokens
    assert sum(e.num_accepted for e in events) == whole.spec.num_accepted_tokens


def test_leaving_a_stream_early_aborts_it(llm: LLM) -> None:
    stream = llm.stream("round and round", GREEDY)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not llm.engine.has_unfinished_requests
    llm.engine.scheduler.check_integrity()


def test_completions_share_the_prompt_and_differ(llm: LLM) -> None:
    params = SamplingParams(n=3, seed=4, max_tokens=16, ignore_eos=True)
    prompt = list(range(2, 50))
    first = llm.generate([prompt], params)
    assert len({tuple(tokens) for tokens in ids(first)}) == 3
    assert ids(llm.generate([prompt], params)) == ids(first)
    # They are not what requests without a seed would draw.
    unseeded = LLM(str(llm.config.model), dtype="float32").generate(
        [prompt] * 3, SamplingParams(max_tokens=16, ignore_eos=True)
    )
    assert not {tuple(t) for t in ids(first)} & {tuple(t) for t in ids(unseeded)}


def test_logprobs_are_the_same_on_and_off(llm: LLM, off: LLM) -> None:
    params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True, logprobs=3)
    ours, plain = (each.generate(["a b a b a b"], params)[0].outputs[0] for each in (llm, off))
    assert ours.logprobs is not None
    assert plain.logprobs is not None
    assert len(ours.logprobs) == len(ours.token_ids) == 24
    for token, entry, expected in zip(ours.token_ids, ours.logprobs, plain.logprobs, strict=True):
        assert token in entry
        assert entry == pytest.approx(expected, abs=1e-3)
        assert entry[token] == max(entry.values())


def test_a_stop_string_ends_text_tokens_and_counts(llm: LLM) -> None:
    whole = llm.generate("stop test", GREEDY)[0].outputs[0]
    stop = whole.text[5:8]
    params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True, stop=stop)
    cut = llm.generate("stop test", params)[0].outputs[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert (cut.finish_reason, cut.stop_reason) == ("stop", stop)
    assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]
    assert cut.spec.num_emitted_tokens == len(cut.token_ids)


def test_the_trace_tells_every_step(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    llm = LLM(str(tiny("llama")), dtype="float32", speculative_config=NGRAM, trace=path)
    output = llm.generate("a b a b a b", GREEDY)[0].outputs[0]
    llm.close()
    steps = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(steps) == llm.times.num_steps
    requests = [request for step in steps for request in step["requests"]]
    told = [token for request in requests for token in request.get("token_ids", [])]
    assert told == output.token_ids
    accepted = sum(request.get("num_accepted", 0) for request in requests)
    assert accepted == output.spec.num_accepted_tokens


def test_bad_input_is_told_clearly(tiny: Tiny, tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.gguf"
    corrupt.write_bytes(b"GGUF" + bytes(60))
    model = str(tiny("llama"))
    small: dict[str, Any] = {"max_model_len": 64, "num_gpu_blocks_override": 2}
    cases: list[tuple[type[FairdraftError], str, Callable[[], Any]]] = [
        (CheckpointError, "does not exist", lambda: LLM("./nowhere")),
        (CheckpointError, "corrupt", lambda: LLM(str(corrupt))),
        (ConfigError, "ngram", lambda: LLM(model, speculative_config={"method": "magic"})),
        (
            ConfigError,
            "num_speculative_tokens is 0",
            lambda: LLM(model, speculative_config={"method": "ngram", "num_speculative_tokens": 0}),
        ),
        (
            ConfigError,
            "prompt_lookup_min is 5",
            lambda: LLM(model, speculative_config=NGRAM | {"prompt_lookup_min": 5}),
        ),
        (ConfigError, "lower it", lambda: LLM(model, max_model_len=9_999)),
        (ConfigError, "unknown option 'temprature'", lambda: LLM(model, temprature=1)),
        (RequestError, "empty", lambda: LLM(model).generate("")),
        (RequestError, "max_model_len=64", lambda: LLM(model, **small).generate([[5] * 64])),
        (
            RequestError,
            "the pool has 2",
            lambda: LLM(model, **small).generate([[5] * 30], SamplingParams(max_tokens=9)),
        ),
        (RequestError, "outside the vocabulary", lambda: LLM(model).generate([[5, 99_999]])),
        (
            RequestError,
            "logit_bias",
            lambda: LLM(model).generate("a", SamplingParams(logit_bias={10**6: 1.0})),
        ),
        (ConfigError, "2 sampling_params", lambda: LLM(model).generate("a", [GREEDY, GREEDY])),
    ]
    for kind, words, call in cases:
        with pytest.raises(kind, match=words):
            call()


def test_a_refused_prompt_leaves_nothing_behind(llm: LLM) -> None:
    with pytest.raises(RequestError):
        llm.generate([[5, 6], [], [7]], GREEDY)
    assert not llm.engine.has_unfinished_requests


def test_the_small_model_knows_paris(demo: LLM) -> None:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    params = SamplingParams(temperature=0, max_tokens=20)
    output = demo.chat(messages, params)[0].outputs[0]
    assert output.text == "The capital of France is Paris."
    assert output.finish_reason == "stop"


def test_the_small_model_says_the_same_on_and_off(demo: LLM, demo_on: LLM) -> None:
    prompts = [load_prompts(name, 1)[0] for name in ("humaneval", "gsm8k", "mt_bench")]
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    for params in (
        SamplingParams(temperature=0, max_tokens=48),
        SamplingParams(temperature=0.8, top_p=0.95, seed=3, max_tokens=32, presence_penalty=0.3),
    ):
        assert ids(demo_on.chat(chats, params)) == ids(demo.chat(chats, params))
    assert demo_on.counters.num_accepted_tokens > 0


# --- rules


def test_coupled_text_depends_on_the_seed_alone(tiny: Tiny) -> None:
    """Off, prompt lookup and a drafter that draws, at any k and batch: the same tokens."""
    params = [
        SamplingParams(temperature=t, seed=i, max_tokens=24, ignore_eos=True, top_p=p)
        for i, (t, p) in enumerate([(1.0, 1.0), (0.7, 0.9), (1.5, 1.0)])
    ]
    prompts = ["one two one two", "abc abc", "x"]
    drawn = {"method": "draft_model", "draft_sample_method": "probabilistic"}
    texts = []
    for method, seats in [({"method": "off"}, 1), (NGRAM, 3), (drawn, 1), (drawn, 3)]:
        for k in (1, 4):
            config = {
                **method,
                "num_speculative_tokens": k,
                "rejection_sample_method": "coupled",
            }
            llm = LLM(
                str(tiny("llama")), dtype="float32", max_num_seqs=seats, speculative_config=config
            )
            texts.append(ids(llm.generate(prompts, params)))
            assert method["method"] == "off" or llm.counters.num_draft_tokens
    assert all(text == texts[0] for text in texts)


def test_synthetic_acceptance_is_marked_everywhere(tiny: Tiny, off: LLM) -> None:
    config = NGRAM | {
        "rejection_sample_method": "synthetic",
        "synthetic_acceptance_length": 3.0,
    }
    llm = LLM(str(tiny("llama")), dtype="float32", speculative_config=config)
    (output,) = llm.generate("one two one two one two", GREEDY)
    assert not output.lossless
    assert not output.outputs[0].lossless
    full = [n for n, d in enumerate(llm.counters.drafted_per_pos) if d]
    assert full
    assert llm.counters.accepted_per_pos[:2] == llm.counters.drafted_per_pos[:2]
    assert llm.counters.accepted_per_pos[2:] in ([], [0], [0, 0])
    assert off.generate("one two", GREEDY)[0].lossless


def test_self_drafting_needs_layers_to_leave_out(tiny: Tiny) -> None:
    config = {"method": "draft_model", "num_draft_layers": 4}
    with pytest.raises(ConfigError, match="num_draft_layers is 4, but the target has 4 layers"):
        LLM(str(tiny("llama")), speculative_config=config)


def test_a_bad_cache_salt_is_refused(llm: LLM) -> None:
    with pytest.raises(RequestError, match="cache_salt is 3"):
        llm.generate({"prompt": "a", "cache_salt": 3}, GREEDY)
