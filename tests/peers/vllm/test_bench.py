"""Results of `vllm bench serve`: counts, step times, and files that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_all

REPORT: dict[str, Any] = {
    "output_throughput": 150.0,
    "mean_tpot_ms": 20.0,
    "max_concurrency": 4,
    "spec_decode_num_drafts": 100,
    "spec_decode_draft_tokens": 400,
    "spec_decode_accepted_tokens": 150,
    "spec_decode_per_position_acceptance_rates": [0.8, 0.4, 0.2, 0.1],
}


def write(path: Path, **fields: object) -> Path:
    path.write_text(json.dumps(REPORT | fields))
    return path


def test_a_bench_result(tmp_path: Path) -> None:
    found = read(write(tmp_path / "serve.json"))
    assert (found.k, found.acceptance_length) == (4, 2.5)
    assert found.step_is_measured
    assert found.step_time == pytest.approx(0.05)
    assert found.biases == ()


def test_a_bench_result_with_few_drafts(tmp_path: Path) -> None:
    """Of 650 tokens 10 are first ones and 150 accepted: 490 steps, 100 with a draft."""
    found = read(write(tmp_path / "serve.json", total_output_tokens=650, completed=10))
    assert found.steps == 490
    assert found.step_time == pytest.approx(0.02 * 640 / 490)


def test_a_list_of_runs(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps([REPORT, REPORT | {"max_concurrency": 8}]))
    assert [(found.label, found.requests) for found in read_all(path)] == [
        ("run=0", 4),
        ("run=1", 8),
    ]
    assert read(f"{path}#run=1").requests == 8


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"output_throughput": "150"}, "output_throughput is '150'"),
        ({"spec_decode_num_drafts": -1}, "spec_decode_num_drafts is -1"),
        ({"spec_decode_accepted_tokens": 401}, "401 of 400 draft tokens"),
        ({"spec_decode_per_position_acceptance_rates": "0.8"}, "must be a list"),
        ({"mean_tpot_ms": None, "max_concurrency": float("nan")}, "max_concurrency is nan"),
    ],
)
def test_a_bench_result_that_cannot_be(
    tmp_path: Path, fields: dict[str, object], says: str
) -> None:
    with pytest.raises(ReadingError, match=says):
        read(write(tmp_path / "serve.json", **fields))
