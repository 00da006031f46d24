"""Responses of llama-server: one, several, and ones that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read

# A response of llama-server, as of March 2025.
TIMINGS: dict[str, Any] = {
    "prompt_n": 1,
    "prompt_ms": 228.522,
    "predicted_n": 200,
    "predicted_ms": 11082.606,
    "predicted_per_second": 18.046,
    "draft_n": 347,
    "draft_n_accepted": 65,
}


def responses(path: Path, *changes: dict[str, object]) -> Path:
    lines = [json.dumps({"choices": [], "timings": TIMINGS | change}) for change in changes]
    path.write_text("\n".join(lines))
    return path


def test_a_response(tmp_path: Path) -> None:
    found = read(responses(tmp_path / "x.json", {}))
    assert (found.drafted, found.accepted, found.steps) == (347, 65, 134)
    assert found.step_time == pytest.approx(11.082606 / 134)


def test_responses_a_line_each(tmp_path: Path) -> None:
    found = read(responses(tmp_path / "x.jsonl", {}, {"draft_n": 0, "draft_n_accepted": 0}))
    assert (found.drafted, found.steps) == (347, 134 + 199)
    plain = read(responses(tmp_path / "y.json", {"draft_n": None, "draft_n_accepted": None}))
    assert not plain.speculates


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"predicted_n": "200"}, "predicted_n is '200'"),
        ({"predicted_ms": -3}, "predicted_ms is -3"),
        ({"predicted_n": 40}, "too few to time a step"),
        ({"draft_n": 60}, "65 of 60 draft tokens"),
    ],
)
def test_responses_that_cannot_be(tmp_path: Path, change: dict[str, object], says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        read(responses(tmp_path / "x.json", change))
