"""Counts that SGLang gives with its answers, under three sets of names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read

COUNTS = {
    "spec_verify_ct": 40,
    "spec_num_correct_drafts": 60,
    "spec_num_proposed_drafts": 200,
    "spec_correct_drafts_histogram": [10, 14, 9, 3, 1, 3],
}
OLDER = {
    "spec_verify_ct": 40,
    "spec_accept_token_num": 60,
    "spec_draft_token_num": 200,
    "spec_accept_histogram": [10, 14, 9, 3, 1, 3],
}


def write(path: Path, *records: object) -> Reading:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read(path)


@pytest.mark.parametrize("counts", [COUNTS, OLDER])
def test_generate(tmp_path: Path, counts: dict[str, Any]) -> None:
    meta = {"completion_tokens": 101, "e2e_latency": 2.0, **counts}
    found = write(tmp_path / "x.json", [{"text": "a", "meta_info": meta}] * 3)
    assert (found.rounds, found.drafted, found.accepted) == (120, 600, 180)
    assert found.survivals == (0.75, 0.4, 0.175, 0.1, 0.075)
    assert (found.steps, found.draft_share, len(found.windows)) == (120, 1, 3)
    assert found.exact_rounds
    assert found.step_time is None


def test_steps_without_a_draft(tmp_path: Path) -> None:
    """201 tokens are one with the prompt, 60 accepted, and one each of 140 steps."""
    meta = {"completion_tokens": 201, **COUNTS}
    found = write(tmp_path / "x.json", {"choices": [{"meta_info": meta}]})
    assert (found.steps, found.draft_share) == (140, pytest.approx(40 / 140))


def test_without_counts_of_drafts_k_is_not_known(tmp_path: Path) -> None:
    meta = {"completion_tokens": 101, "spec_verify_ct": 40}
    found = write(tmp_path / "x.json", {"meta_info": meta})
    assert (found.rounds, found.accepted) == (40, 60)
    assert not found.drafted_is_known
    assert any("does not count them" in note for note in found.biases)


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"completion_tokens": 5}, "do not say whether they speculated"),
        (COUNTS | {"spec_correct_drafts_histogram": [10, 14, 9]}, "the histogram says 33 rounds"),
        (COUNTS | {"spec_num_correct_drafts": 61}, "60 accepted"),
        (COUNTS | {"spec_num_proposed_drafts": 6}, "60 of 6 draft tokens"),
        (COUNTS | {"spec_verify_ct": "40"}, "spec_verify_ct is '40'"),
        ({"spec_verify_ct": 40}, "spec_num_correct_drafts"),
    ],
)
def test_answers_that_cannot_be(tmp_path: Path, meta: dict[str, Any], says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        write(tmp_path / "x.json", {"meta_info": meta})
