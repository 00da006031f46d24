"""Counts that vLLM and TensorRT-LLM give with their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read

# Two steps, one of which accepted all four of its drafts: FACTS.md, section 9.
SUMMARY: dict[str, Any] = {
    "mean_acceptance_length": 3.0,
    "draft_acceptance_rate": 0.5,
    "acceptance_histogram": [1, 0, 0, 0, 1],
    "num_spec_steps": 2,
    "num_accepted_draft_tokens": 4,
    "num_draft_tokens": 8,
    "num_spec_tokens": 4,
    "per_step_accepted": None,
    "per_step_drafted": None,
}
DETAILED = SUMMARY | {
    "num_draft_tokens": 5,
    "per_step_accepted": [4, 0],
    "per_step_drafted": [4, 1],
}


def response(stats: object, tokens: int = 27, **metrics: object) -> dict[str, Any]:
    return {
        "choices": [{"index": 0}],
        "usage": {"completion_tokens": tokens},
        "metrics": {"speculative_decoding": stats, **metrics},
    }


def write(path: Path, *records: object) -> Reading:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read(path)


def test_a_summary(tmp_path: Path) -> None:
    """27 tokens are one with the prompt, 4 accepted, and one each of 22 steps."""
    found = write(tmp_path / "x.json", response(SUMMARY, generation_time_ms=440.0))
    assert (found.rounds, found.drafted, found.accepted, found.k) == (2, 8, 4, 4)
    assert found.survivals == (0.5, 0.5, 0.5, 0.5)
    assert (found.steps, found.max_k) == (22, 4)
    assert found.step_time == pytest.approx(0.02)
    assert found.exact_rounds


def test_details_have_each_position_s_own_rounds(tmp_path: Path) -> None:
    found = write(tmp_path / "x.json", response(DETAILED), response(DETAILED))
    assert found.survivals == (0.5, 1, 1, 1)
    assert found.drafted_per_position == (4, 2, 2, 2)
    assert len(found.windows) == 2
    assert found.step_time is None


def test_counts_in_each_choice(tmp_path: Path) -> None:
    """As they stood before they were merged, with an object by number; and TensorRT-LLM's."""
    early = SUMMARY | {"acceptance_histogram": {"0": 1, "4": 1}}
    found = write(tmp_path / "x.json", {"choices": [{"speculative_decoding_stats": early}] * 2})
    assert (found.rounds, found.survivals[3]) == (4, 0.5)
    trt = {
        "acceptance_histogram": [1, 0, 0, 0, 1],
        "num_spec_steps": 2,
        "total_accepted_draft_tokens": 4,
        "total_draft_tokens": 8,
        "acceptance_rate": 0.5,
        "num_spec_tokens": 4,
    }
    found = write(tmp_path / "x.json", {"choices": [{"speculative_decoding": trt}]})
    assert (found.rounds, found.drafted, found.accepted) == (2, 8, 4)


def test_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "x.sse"
    chunks = [
        {"id": "a", "choices": [{"delta": {"content": "x"}}], "usage": None},
        {
            "id": "a",
            "choices": [],
            **{k: v for k, v in response(SUMMARY).items() if k != "choices"},
        },
    ]
    events = "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)
    path.write_text(events + "data: [DONE]\r\n\r\n")
    assert (read(path).rounds, read(path).steps) == (2, 22)
    path.write_text((events + "data: [DONE]\n\n") * 2 + events.replace('"a"', '"b"'))
    assert read(path).rounds == 6
    path.write_text(events[:-30])
    with pytest.raises(ReadingError, match="cut off before it said"):
        read(path)
    path.write_text("data: {\n" + events)
    with pytest.raises(ReadingError, match="event 1 of the stream"):
        read(path)


def test_times_alone_do_not_say_whether_it_speculated(tmp_path: Path) -> None:
    found = write(tmp_path / "x.json", response(None, 101, generation_time_ms=2000.0))
    assert found.step_time == pytest.approx(0.02)
    assert not found.drafted_is_known
    assert any("be sure" in note for note in found.biases)
    both = write(tmp_path / "x.json", response(SUMMARY), response(None, 101))
    assert (both.rounds, len(both.windows)) == (2, 0)
    assert any("1 of 2 answers say nothing" in note for note in both.biases)


@pytest.mark.parametrize(
    ("stats", "says"),
    [
        (SUMMARY | {"acceptance_histogram": [1, 0, 0, 1]}, "3 accepted"),
        (SUMMARY | {"acceptance_histogram": {"many": 2}}, "must say how many steps"),
        (SUMMARY | {"num_spec_steps": 3}, "the histogram says 2 rounds"),
        (SUMMARY | {"num_draft_tokens": 3}, "4 of 3 draft tokens"),
        (SUMMARY | {"num_spec_steps": None}, "lacks 'num_spec_steps'"),
        (DETAILED | {"per_step_drafted": [4]}, "per_step_drafted has 1 steps"),
        (DETAILED | {"per_step_drafted": [1e9, 1]}, "per_step_drafted has 2 steps"),
        ("on", "speculative_decoding is 'on'"),
    ],
)
def test_answers_that_cannot_be(tmp_path: Path, stats: object, says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        write(tmp_path / "x.json", response(stats))


def test_answers_without_counts_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="answers without any count of drafts"):
        write(tmp_path / "x.json", {"choices": [{}], "usage": {"completion_tokens": 9}})
