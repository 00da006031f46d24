"""fairdraft's step trace: chains, trees, and traces that are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read


def step(number: int, *requests: dict[str, Any]) -> str:
    times = dict.fromkeys(("schedule", "run", "verify", "update", "propose"), 0.01)
    times["run"] = 1.0 if number == 0 else 0.06
    return json.dumps({"step": number, "times": {**times, "num_steps": 1}, "requests": requests})


def request(draft: list[int], accepted: int, new: int, **more: object) -> dict[str, Any]:
    return {
        "request_id": "a",
        "num_computed_tokens": 7,
        "num_new_tokens": new,
        "draft_token_ids": draft,
        "num_accepted": accepted,
        "token_ids": [1] * (accepted + 1),
        **more,
    }


def trace(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_trace(tmp_path: Path) -> None:
    """A prefill that is not timed, two rounds, and a step with nothing drafted."""
    path = trace(
        tmp_path / "trace.jsonl",
        step(0, {"request_id": "a", "num_computed_tokens": 0, "num_new_tokens": 64}),
        step(1, request([], 0, 40)),
        step(2, request([5, 6], 2, 3), request([], 0, 1)),
        step(3, request([5], 0, 2)),
    )
    found = read(path)
    assert (found.rounds, found.drafted, found.accepted, found.steps) == (2, 3, 2, 4)
    assert found.survivals == (0.5, 1.0)
    assert found.step_time == pytest.approx(0.1)
    assert found.requests == 1.5
    assert found.tokens_per_second == pytest.approx(6 / (1.04 + 3 * 0.1))


def test_a_trace_of_trees(tmp_path: Path) -> None:
    """Six nodes, three deep, of which two stand."""
    parents = [-1, -1, 0, 0, 1, 3]
    found = read(
        trace(tmp_path / "t.jsonl", step(1, request([1, 2, 3, 4, 5, 6], 2, 7, parents=parents)))
    )
    assert (found.k, found.drafted, found.accepted) == (3, 6, 2)
    assert found.survivals == (1, 1, 0)


def test_traces_that_are_broken(tmp_path: Path) -> None:
    path = trace(tmp_path / "t.jsonl", step(0, request([], 0, 40)))
    with pytest.raises(ReadingError, match="no step that only decodes"):
        read(path)
    with pytest.raises(ReadingError, match="parent 5"):
        read(trace(path, step(1, request([1, 2], 0, 3, parents=[-1, 5]))))
    path.write_text(step(1, request([1], 0, 2)) + "\n" + step(2, request([1], 0, 2))[:40])
    with pytest.raises(ReadingError, match="cut off or broken"):
        read(path)
