"""Inputs as people paste them, with what is true of each (formats public, numbers changed)."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.peers import Reading, read

CASES = Path(__file__).parent / "cases"


def case(name: str) -> Reading:
    return read(CASES / name)


def about(value: float) -> object:
    return pytest.approx(value, rel=0.005)


@pytest.mark.parametrize("name", ["ngram_on.log", "ngram_on_085.log"])
def test_vllm_n_gram_at_600_requests(name: str) -> None:
    """9% of steps draft; the first two windows are full of prompts."""
    found = case(name)
    assert (found.generated, found.accepted, found.rounds, found.k) == (44907, 6181, 3526, 3)
    assert found.acceptance_length == about(2.753)
    assert found.draft_share == about(0.091)
    assert found.tokens_per_step == about(1.16)
    assert found.step_time == about(0.407)
    assert [each.step_time for each in found.windows] == [about(1.345), about(0.835), about(0.2127)]
    assert [each.seconds for each in found.windows] == [10, 10, 10]
    assert [each.waiting for each in found.windows] == [633, 226, 0]
    assert found.prompt_share == about(0.871)
    off = case("ngram_off.log")
    assert not off.speculates
    assert off.step_time == about(0.1502)


def test_vllm_any_number_of_lines_says_the_same() -> None:
    one, *more = (case(f"few_{i}.log") for i in (1, 2, 3))
    for found in (one, *more):
        assert found.step_time == about(0.02353)
        assert found.draft_share == about(0.1176)
        assert found.survivals == pytest.approx((0.7, 0.5, 0.3))
        assert found.windows[0].step_time == about(0.02353)
    assert case("few_off.log").step_time == about(0.01905)


def test_vllm_v0() -> None:
    found = case("v0_on.log")
    assert (found.k, found.drafted, found.rounds) == (3, 13311, 4437)
    assert found.acceptance_length == about(2.3926)
    assert any(
        "emitted / rounds = 2.39" in note and "would be 2.93" in note for note in found.notes
    )


def test_vllm_several_engines() -> None:
    found = case("dp_on.log")
    assert (found.tokens_per_second, found.requests, found.engines) == (800, 8, 2)
    assert (found.rounds, found.acceptance_length, found.seconds) == (8000, 2, 20)
    assert found.step_time == about(0.02)


def test_vllm_nothing_stands() -> None:
    found = case("dead_on.log")
    assert found.survivals == (0, 0)
    assert (found.drafted, found.k) == (3120, 2)
    assert not case("dead_off.log").speculates


def test_sglang_log() -> None:
    """The first line's throughput has the wait before it; k is told by the rate's one meaning."""
    found = case("sgl_on.log")
    assert found.acceptance_length == about(1.9)
    assert found.step_time == about(0.010915)
    assert found.k == 3
    assert any("of a tree these are its nodes" in note for note in found.biases)
    assert case("sgl_off.log").step_time == about(0.006776)


def test_sglang_answer() -> None:
    found = case("sgl_response.json")
    assert (found.rounds, found.drafted, found.accepted) == (40, 200, 60)
    assert found.survivals == (30 / 40, 16 / 40, 7 / 40, 4 / 40, 3 / 40)
    assert found.exact_rounds


def test_sglang_bench_serving() -> None:
    found = case("sgl_bench_on.jsonl")
    assert found.speculates
    assert found.acceptance_length == about(2.86)
    assert found.step_time == about(0.018 * 2.86)
    assert not found.drafted_is_known
    assert any("k is not in the file" in note for note in found.biases)
    off = case("sgl_bench_off.jsonl")
    assert not off.speculates
    assert off.step_time == about(0.024)


def test_llama_server_log() -> None:
    found = case("llama_on.log")
    assert (found.rounds, found.max_k or round(found.k)) == (84, 3)
    assert found.survivals == pytest.approx((0.81, 0.63, 0.46))
    assert found.step_time == about(0.02573)
    assert found.draft_seconds == about(0.325555 / 89)
    assert case("llama_off.log").step_time == about(3.75 / 249)


def test_llama_speculative_simple() -> None:
    found = case("llama_simple.log")
    assert (found.drafted, found.accepted, found.generated, found.steps) == (112, 36, 136, 100)
    assert found.step_time == about(0.289)
    assert found.max_k == 8


def test_llama_ngram_mod() -> None:
    found = case("mod_on.log")
    assert (found.rounds, found.k, found.accepted, found.acceptance_length) == (3, 64, 12, 5)
    assert found.draft_share == about(3 / 1127)
    assert not case("mod_off.log").speculates


@pytest.mark.parametrize("name", ["llama_stream.sse", "llama_timings_only.json", "llama_on.json"])
def test_llama_timings(name: str) -> None:
    found = case(name)
    assert (found.drafted, found.accepted, found.steps) == (340, 66, 133)
    assert found.step_time == about(11.08 / 133)
    assert case("llama_off.json").step_time == about(10 / 199)


def test_vllm_bench_console() -> None:
    found = case("bench_console_on.txt")
    assert (found.rounds, found.drafted, found.accepted) == (86600, 86600, 41308)
    assert found.acceptance_length == about(1.477)
    assert found.survivals == (about(0.477),)
    assert found.inter_token_seconds == 0.00975
    assert found.inter_chunk_seconds == 0.0144
    assert found.step_time == about(0.0144)
    off = case("bench_console_off.txt")
    assert not off.speculates
    assert (off.step_time, off.requests) == (about(0.0112), 8)


def test_every_case_is_read_and_tested() -> None:
    text = Path(__file__).read_text("utf-8")
    for path in CASES.iterdir():
        assert read(path)
        assert path.name in text or path.name.startswith("few_"), path
