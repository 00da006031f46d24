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
