"""AIPerf's exports: requests and means, with a server's counts and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read

STATS: dict[str, Any] = {
    "engine": "vllm",
    "mean_acceptance_length": 2.5,
    "draft_acceptance_rate": 0.5,
    "acceptance_histogram": {"0": 10, "1": 10, "3": 20},
    "num_accepted_draft_tokens": 70,
    "num_draft_tokens": 120,
    "num_spec_steps": 40,
    "num_spec_tokens": 3,
}


def metric(value: object, unit: str = "ms") -> dict[str, object]:
    return {"value": value, "unit": unit}


def record(i: int, **more: object) -> dict[str, Any]:
    """101 tokens in 1 s after the first: 10 ms each, in 40 chunks of 25 ms."""
    start = 1_759_813_207_000_000_000 + i * 500_000_000
    return {
        "metadata": {
            "request_start_ns": start,
            "request_end_ns": start + 1_200_000_000,
            "benchmark_phase": "profiling",
            "was_cancelled": False,
        },
        "metrics": {
            "input_sequence_length": metric(550, "tokens"),
            "output_sequence_length": metric(101, "tokens"),
            "request_latency": metric(1200.0),
            "inter_token_latency": metric(10.0),
            "inter_chunk_latency": metric([25.0] * 40),
        },
        "error": None,
        **more,
    }


def write(path: Path, *records: object) -> Reading:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return read(path)


def test_records_with_a_server_s_counts(tmp_path: Path) -> None:
    """Of 100 tokens after the first 70 were accepted and 40 steps had a draft: 40 steps."""
    found = write(
        tmp_path / "x.jsonl", *(record(i, spec_decode_acceptance=STATS) for i in range(3))
    )
    assert (found.rounds, found.drafted, found.accepted) == (120, 360, 210)
    assert found.survivals == (0.75, 0.5, 0.5)
    assert found.step_time == pytest.approx(3 / 120)
    assert (found.inter_token_seconds, found.inter_chunk_seconds) == pytest.approx((0.01, 0.025))
    assert found.seconds == pytest.approx(2.2)
    assert found.requests == pytest.approx(3.6 / 2.2)
    assert found.tokens_per_second == pytest.approx(303 / 2.2)
    assert len(found.windows) == 3


def test_records_without_counts_go_by_chunks(tmp_path: Path) -> None:
    found = write(tmp_path / "x.jsonl", record(0), record(1))
    assert found.acceptance_length == pytest.approx(2.5)
    assert found.step_time == pytest.approx(0.025)
    assert not found.drafted_is_known
    assert any("chunks hold 2.50 tokens" in note for note in found.biases)


def test_records_of_other_phases_are_left_out(tmp_path: Path) -> None:
    warm, failed = record(1), record(2, error={"code": 499})
    warm["metadata"]["benchmark_phase"] = "warmup"
    found = write(tmp_path / "x.jsonl", record(0, spec_decode_acceptance=STATS), warm, failed)
    assert found.rounds == 40
    assert any("2 of 3 requests failed" in note for note in found.biases)
    with pytest.raises(ReadingError, match="no request that was profiled"):
        write(tmp_path / "x.jsonl", warm, failed)


def summary(per_chunk: float | None = 10.0, **more: object) -> dict[str, object]:
    found: dict[str, object] = {
        "output_token_throughput": {"unit": "tokens/sec", "avg": 800.0},
        "request_throughput": {"unit": "requests/sec", "avg": 8.0},
        "request_count": {"unit": "requests", "avg": 80},
        "request_latency": {"unit": "ms", "avg": 1000.0, "p99": 1200.0},
        "inter_token_latency": {"unit": "ms", "avg": 10.0},
        "output_sequence_length": {"unit": "tokens", "avg": 101.0},
        "input_sequence_length": {"unit": "tokens", "avg": 500.0},
        "benchmark_duration": {"unit": "sec", "avg": 10.0},
        **more,
    }
    if per_chunk is not None:
        found["inter_chunk_latency"] = {"unit": "ms", "avg": per_chunk}
    return found


def test_a_summary_with_counts(tmp_path: Path) -> None:
    counts = {
        "total_spec_decode_steps": {"unit": "count", "avg": 40},
        "total_accepted_draft_tokens": {"unit": "tokens", "avg": 70},
        "total_draft_tokens": {"unit": "tokens", "avg": 120},
        "pooled_spec_decode_acceptance_histogram": {"0": 10, "1": 10, "3": 20},
    }
    found = write(tmp_path / "x.json", summary(25.0, **counts))
    assert (found.rounds, found.survivals) == (40, (0.75, 0.5, 0.5))
    assert found.steps == 80 * 100 - 70
    assert (found.requests, found.seconds, found.prompt_tokens_per_second) == (8, 10, 4000)
    assert found.step_time == pytest.approx(0.01 * 8000 / 7930)
    counts["total_spec_decode_steps"] = {"unit": "count", "avg": 41}
    with pytest.raises(ReadingError, match="the histogram says 40 rounds"):
        write(tmp_path / "x.json", summary(25.0, **counts))


def test_a_summary_without_counts(tmp_path: Path) -> None:
    off = write(tmp_path / "x.json", summary())
    assert (off.speculates, off.step_time) == (False, 0.01)
    assert any("chunks hold 1.00 tokens" in note for note in off.biases)
    on = write(tmp_path / "x.json", summary(25.0))
    assert on.acceptance_length == pytest.approx(2.5)
    silent = write(tmp_path / "x.json", summary(None))
    assert not silent.drafted_is_known
    assert any("nor of chunks" in note for note in silent.biases)
