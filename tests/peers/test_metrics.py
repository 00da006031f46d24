"""Metrics pages of three engines, one or two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_metrics

PAGE = """\
# TYPE vllm:spec_decode_num_drafts counter
vllm:spec_decode_num_drafts_total{{model_name="m",engine="0"}} {drafts}
# TYPE vllm:spec_decode_num_draft_tokens counter
vllm:spec_decode_num_draft_tokens_total{{model_name="m",engine="0"}} {drafted}
# TYPE vllm:spec_decode_num_accepted_tokens counter
vllm:spec_decode_num_accepted_tokens_total{{model_name="m",engine="0"}} {accepted}
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="0"}} {first}
vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="1"}} {second}
"""
BEFORE = PAGE.format(drafts=10, drafted=20, accepted=9, first=6, second=3)
AFTER = PAGE.format(drafts=110, drafted=220, accepted=129, first=86, second=43)
SERVED = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0"}} 3
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{{engine="0"}} {tokens}
vllm:generation_tokens_created{{engine="0"}} 1.75e9
# TYPE vllm:inter_token_latency_seconds histogram
vllm:inter_token_latency_seconds_bucket{{engine="0",le="+Inf"}} {count}
vllm:inter_token_latency_seconds_count{{engine="0"}} {count}
vllm:inter_token_latency_seconds_sum{{engine="0"}} {seconds}
"""
START = SERVED.format(tokens=100, count=90, seconds=2.0)
END = SERVED.format(tokens=470, count=290, seconds=22.0)


def test_counters_alone() -> None:
    found = read_metrics(BEFORE, AFTER, 10.0, "metrics")
    assert (found.rounds, found.drafted, found.accepted) == (100, 200, 120)
    assert found.accepted_per_position == (80, 40)
    assert found.acceptance_length == pytest.approx(2.2)
    assert found.tokens_per_second == pytest.approx(22)
    assert found.step_time is None


def test_the_latency_between_outputs_is_the_step_time() -> None:
    """200 outputs of 0.1 s in 10 s: 2 ran; 100 of the 200 had a draft."""
    found = read_metrics(BEFORE + START, AFTER + END, 10.0, "metrics")
    assert found.step_time == pytest.approx(0.1)
    assert found.step_is_measured
    assert (found.requests, found.steps) == (pytest.approx(2), 200)
    assert found.tokens_per_second == pytest.approx(37)
    assert found.tokens_per_step == pytest.approx(1.6)
    older = [page.replace("inter_token_latency", "time_per_output_token") for page in (START, END)]
    assert read_metrics(BEFORE + older[0], AFTER + older[1], 10.0, "x").step_time == found.step_time


def test_a_server_without_speculation() -> None:
    found = read_metrics(START, END, 10.0, "metrics")
    assert not found.speculates
    assert found.step_time == pytest.approx(0.1)


def test_two_engines_of_a_server_are_added_up() -> None:
    second = [page.replace('engine="0"', 'engine="1"') for page in (BEFORE, AFTER)]
    found = read_metrics(BEFORE + second[0], AFTER + second[1], 10.0, "metrics")
    assert (found.rounds, found.accepted_per_position) == (200, (160, 80))


LOAD = """\
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0"}} 6
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0"}} 0.75
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{{engine="0"}} {prompts}
# TYPE vllm:num_preemptions counter
vllm:num_preemptions_total{{engine="0"}} {preemptions}
"""


def test_what_else_a_server_did() -> None:
    before, after = LOAD.format(prompts=10, preemptions=1), LOAD.format(prompts=510, preemptions=3)
    found = read_metrics(START + before, END + after, 10.0, "metrics")
    assert (found.prompt_tokens_per_second, found.preemptions, found.waiting) == (50, 2, 6)
    assert (found.kv_usage, found.seconds, found.generated) == (0.75, 10, 370)
    start, end = ((page, page.replace('engine="0"', 'engine="1"')) for page in (before, after))
    two = read_metrics(START + "".join(start), END + "".join(end), 10.0, "metrics")
    assert (two.prompt_tokens_per_second, two.kv_usage, two.engines) == (100, 0.75, 2)


def test_draft_tokens_without_drafts_are_refused_by_name() -> None:
    v0 = """\
vllm:spec_decode_num_accepted_tokens_total 30
vllm:spec_decode_num_draft_tokens_total 60
vllm:spec_decode_num_emitted_tokens_total 50
"""
    with pytest.raises(ReadingError, match="vLLM V0"):
        read_metrics(START, END + v0, 10.0, "metrics")


LLAMA = """\
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total {tokens}
# TYPE llamacpp:tokens_predicted_seconds_total counter
llamacpp:tokens_predicted_seconds_total {seconds}
# TYPE llamacpp:spec_decode_num_drafts_total counter
llamacpp:spec_decode_num_drafts_total {drafts}
# TYPE llamacpp:spec_decode_num_draft_tokens_total counter
llamacpp:spec_decode_num_draft_tokens_total {drafted}
# TYPE llamacpp:spec_decode_num_accepted_tokens_total counter
llamacpp:spec_decode_num_accepted_tokens_total {accepted}
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
"""


def test_llama_cpp() -> None:
    """256 tokens of which 167 were drafts: 89 steps."""
    zero = LLAMA.format(tokens=0, seconds=0, drafts=0, drafted=0, accepted=0)
    page = LLAMA.format(tokens=256, seconds=2.225, drafts=87, drafted=259, accepted=167)
    found = read_metrics(zero, page, 5.0, "metrics")
    assert (found.rounds, found.drafted, found.accepted, found.steps) == (87, 259, 167, 89)
    assert found.step_time == pytest.approx(0.025)
    plain = LLAMA.format(tokens=256, seconds=2.56, drafts=0, drafted=0, accepted=0)
    assert not read_metrics(zero, plain, 5.0, "metrics").speculates


SGLANG = """\
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{{model_name="m"}} {tokens}
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{{model_name="m",tp_rank="0"}} 4
sglang:num_running_reqs{{model_name="m",tp_rank="1"}} 4
# TYPE sglang:gen_throughput gauge
sglang:gen_throughput{{model_name="m",tp_rank="0"}} 300.0
# TYPE sglang:spec_accept_length gauge
sglang:spec_accept_length{{model_name="m",tp_rank="0"}} {length}
# TYPE sglang:spec_accept_rate gauge
sglang:spec_accept_rate{{model_name="m",tp_rank="0"}} {rate}
# TYPE sglang:inter_token_latency_seconds histogram
sglang:inter_token_latency_seconds_bucket{{model_name="m",le="+Inf"}} {tokens}
sglang:inter_token_latency_seconds_count{{model_name="m"}} {tokens}
sglang:inter_token_latency_seconds_sum{{model_name="m"}} {seconds}
"""


def test_sglang() -> None:
    """Gauges, and a latency a token: 10 ms of them at 2.5 tokens a step are 25 ms."""
    before = SGLANG.format(tokens=100, seconds=1.0, length=2.5, rate=0.5)
    after = SGLANG.format(tokens=1100, seconds=11.0, length=2.5, rate=0.5)
    found = read_metrics(before, after, 10.0, "metrics")
    assert (found.k, found.acceptance_length, found.requests) == (3, 2.5, 4)
    assert found.step_time == pytest.approx(0.025)
    assert found.tokens_per_second == pytest.approx(100)
    assert any("last interval" in note for note in found.biases)
    off = after.replace(" 2.5\n", " 0.0\n").replace(" 0.5\n", " 0.0\n")
    assert not read_metrics(before, off, 10.0, "metrics").speculates
    with pytest.raises(ReadingError, match="k is not known"):
        read_metrics(before, after.replace(" 0.5\n", " 0.0\n"), 10.0, "metrics")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (AFTER, BEFORE, "went from 110 to 10: the server was restarted"),
        (END, START, "generation_tokens went from 470 to 100"),
        (AFTER, AFTER, "nothing was drafted and nothing generated"),
        ("", AFTER, "no metrics page"),
        (AFTER, "<html>not found</html>", "no metrics page"),
        (BEFORE, SGLANG.format(tokens=1, seconds=1, length=2, rate=0.5), "take one server"),
        (BEFORE, AFTER + "vllm:generation_tokens_total many\n", "broken metrics page"),
    ],
)
def test_scrapes_that_say_nothing(before: str, after: str, says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        read_metrics(before, after, 10.0, "metrics")


def test_saved_pages(tmp_path: Path) -> None:
    (tmp_path / "a.prom").write_text(BEFORE + START)
    (tmp_path / "b.prom").write_text(AFTER + END)
    pair = read(f"{tmp_path / 'a.prom'},{tmp_path / 'b.prom'}")
    assert (pair.rounds, pair.step_time) == (100, pytest.approx(0.1))
    assert pair.tokens_per_second is None
    whole = read(tmp_path / "b.prom")
    assert whole.rounds == 110
    assert any("since the server started" in note for note in whole.biases)
