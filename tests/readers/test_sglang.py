"""SGLang's benchmark lines and /server_info."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.readers import read, read_all

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


INFO = {
    "version": "0.5.6",
    "speculative_num_steps": 3,
    "speculative_num_draft_tokens": 4,
    "internal_states": [
        {
            "last_gen_throughput": 143.4,
            "speculative_num_steps": 3,
            "avg_spec_accept_length": 2.2,
            "step_time_dict": {"1": [0.011, 0.012, 0.013], "2": [0.02]},
        }
    ],
}


def test_server_info(tmp_path: Path) -> None:
    found = read(write(tmp_path / "info.json", INFO))
    assert (found.k, found.acceptance_length) == (3, pytest.approx(2.2))
    assert (found.requests, found.step_time, found.tokens_per_second) == (1, 0.012, 143.4)


def test_server_info_without_speculation_or_times(tmp_path: Path) -> None:
    plain = {"speculative_num_steps": None, "internal_states": [{"last_gen_throughput": 50.0}]}
    found = read(write(tmp_path / "info.json", plain))
    assert not found.speculates
    assert found.step_time is None


@pytest.mark.parametrize("states", [[], [3], "x", [{}]])
def test_server_info_that_says_nothing(tmp_path: Path, states: object) -> None:
    with pytest.raises(ReadingError, match=r"internal_states|avg_spec_accept_length"):
        read(write(tmp_path / "info.json", INFO | {"internal_states": states}))
