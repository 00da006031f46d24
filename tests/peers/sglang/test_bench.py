"""SGLang's benchmark lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_all

ROWS = [
    {
        "batch_size": 8,
        "steps": steps,
        "topk": topk,
        "num_draft_tokens": nodes,
        "acc_length": length,
        "step_time": step,
        "speed": round(length / step, 3),
        "completion_tokens": 512.0,
    }
    for steps, topk, nodes, length, step in (
        (0, 0, 0, 1.0, 0.010),
        (3, 1, 4, 2.5, 0.0125),
        (3, 4, 8, 2.9, 0.015),
    )
]


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_reading_a_line(tmp_path: Path) -> None:
    off, chain, tree = read_all(write(tmp_path / "output.jsonl", *ROWS))
    assert not off.speculates
    assert off.step_time == 0.010
    assert (chain.k, chain.drafted, chain.acceptance_length) == (3, 3, 2.5)
    assert chain.acceptance_rate == 0.5
    assert chain.tokens_per_second == pytest.approx(8 * 200)  # `speed` is of one request
    assert (tree.k, tree.drafted) == (3, 7)  # 8 with the root; 4 tokens at most
    assert any("no interval" in note for note in chain.biases)
    assert any("20th percentile" in note for note in chain.biases)


def test_a_line_is_chosen_by_its_label(tmp_path: Path) -> None:
    path = write(tmp_path / "output.jsonl", *ROWS)
    assert read(f"{path}#n=8,steps=3,topk=4,draft=8").acceptance_length == pytest.approx(2.9)
    with pytest.raises(ReadingError, match=r"n=8,steps=0,topk=0,draft=0, n=8,steps=3"):
        read(path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"acc_length": 4.5}, "from 1 to 4"),
        ({"acc_length": 0.5}, "from 1 to 4"),
        ({"step_time": "fast"}, "step_time is 'fast'"),
        ({"speed": None}, "lacks 'speed'"),
    ],
)
def test_lines_that_cannot_be(tmp_path: Path, fields: dict[str, object], says: str) -> None:
    path = write(tmp_path / "output.jsonl", ROWS[0], ROWS[1] | fields)
    with pytest.raises(ReadingError, match=says):
        read_all(path)


SERVING: dict[str, object] = {
    "backend": "sglang",
    "max_concurrency": 8,
    "duration": 20.0,
    "completed": 40,
    "total_input_tokens": 9000,
    "total_output_tokens": 8040,
    "total_output_tokens_retokenized": 8035,
    "output_throughput": 402.0,
    "mean_tpot_ms": 18.0,
    "mean_itl_ms": 18.0,
    "concurrency": 7.8,
    "accept_length": 2.5,
}


def test_bench_serving(tmp_path: Path) -> None:
    """8,000 tokens after the first ones, 2.5 a step: 3,200 steps of 45 ms."""
    found = read(write(tmp_path / "x.jsonl", SERVING))
    assert (found.steps, found.accepted, found.acceptance_length) == (3200, 4800, 2.5)
    assert found.step_time == pytest.approx(0.045)
    assert (found.requests, found.prompt_tokens_per_second) == (7.8, 450)
    assert (found.inter_token_seconds, found.inter_chunk_seconds) == (0.018, None)
    assert not found.drafted_is_known
    chunked = read(write(tmp_path / "x.jsonl", SERVING | {"mean_itl_ms": 45.0}))
    assert chunked.inter_chunk_seconds == pytest.approx(0.045)
    off, on = read_all(write(tmp_path / "x.jsonl", SERVING | {"accept_length": None}, SERVING))
    assert (off.speculates, off.drafted_is_known, on.label) == (False, True, "run=1")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"accept_length": 0.4}, "accept_length is 0.4"),
        ({"accept_length": "2"}, "accept_length is '2'"),
        ({"mean_tpot_ms": None}, "lacks 'mean_tpot_ms'"),
    ],
)
def test_bench_serving_that_cannot_be(tmp_path: Path, fields: dict[str, object], says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        read(write(tmp_path / "x.jsonl", SERVING | fields))
