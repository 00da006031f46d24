"""GuideLLM's reports: tokens an iteration are the mean acceptance length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_all


def spread(mean: float, count: int = 10) -> dict[str, Any]:
    found = {"mean": mean, "median": mean, "count": count, "total_sum": mean * count}
    return {"successful": found, "incomplete": None, "errored": None, "total": found}


def run(per_iteration: float | None, **more: object) -> dict[str, Any]:
    metrics = {
        "inter_token_latency_ms": spread(10.0),
        "output_token_count": spread(101.0),
        "output_tokens_per_second": spread(800.0),
        "prompt_tokens_per_second": spread(4000.0),
        "request_concurrency": spread(8.0),
        **more,
    }
    if per_iteration is not None:
        metrics["iter_tokens_per_iteration"] = spread(per_iteration)
    return {"type_": "generative_benchmark", "duration": 30.0, "metrics": metrics}


def write(path: Path, *runs: object) -> Path:
    path.write_text(json.dumps({"metadata": {}, "config": {}, "benchmarks": runs}))
    return path


def test_tokens_an_iteration(tmp_path: Path) -> None:
    off, on = read_all(write(tmp_path / "benchmarks.json", run(1.0), run(2.5)))
    assert (off.speculates, off.step_time, off.label) == (False, 0.01, "run=0")
    assert on.acceptance_length == pytest.approx(2.5)
    assert on.step_time == pytest.approx(0.025)
    assert (on.inter_token_seconds, on.inter_chunk_seconds) == pytest.approx((0.01, 0.025))
    assert (on.steps, on.requests, on.tokens_per_second) == (pytest.approx(400), 8, 800)
    assert not on.drafted_is_known
    assert any("k is not in the file" in note for note in on.biases)


def test_older_reports_cannot_tell(tmp_path: Path) -> None:
    found = read(write(tmp_path / "benchmarks.json", run(None)))
    assert not found.drafted_is_known
    assert any("cannot be told" in note for note in found.biases)


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([], "not each of them 'metrics'"),
        ([{"metrics": None}], "not each of them 'metrics'"),
        ([run(2.0, inter_token_latency_ms=None)], "no inter-token latency"),
        ([run(2.0, inter_token_latency_ms={"successful": {"mean": "fast"}})], "mean is 'fast'"),
    ],
)
def test_reports_that_cannot_be(tmp_path: Path, runs: list[object], says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        read_all(write(tmp_path / "benchmarks.json", *runs))
