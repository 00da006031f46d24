"""TensorRT-LLM's iteration statistics: rounds are counted, steps are timed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read


def iteration(i: int, **more: Any) -> dict[str, Any]:
    """Eight requests draft three tokens each, of which half stand, in 20 ms."""
    return {
        "iter": i,
        "iterLatencyMS": 20.0,
        "numQueuedRequests": 2,
        "kvCacheStats": {"usedNumBlocks": 30, "maxNumBlocks": 120},
        "inflightBatchingStats": {
            "numContextRequests": 0,
            "numGenRequests": 8,
            "numCtxTokens": 0,
            "numPausedRequests": 0,
        },
        "specDecodingStats": {
            "numDraftTokens": 24,
            "numAcceptedTokens": 12,
            "numRequestsWithDraftTokens": 8,
            "acceptanceLength": 2.5,
            "iterLatencyMS": 1.5,
        },
        **more,
    }


PREFILL = {
    "numContextRequests": 1,
    "numGenRequests": 8,
    "numCtxTokens": 500,
    "numPausedRequests": 1,
}


def write(path: Path, records: list[dict[str, Any]]) -> Reading:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return read(path)


def test_iterations(tmp_path: Path) -> None:
    prefill = iteration(0, iterLatencyMS=80.0, inflightBatchingStats=PREFILL)
    found = write(tmp_path / "x.jsonl", [prefill, *(iteration(i) for i in range(1, 101))])
    assert (found.rounds, found.drafted, found.accepted) == (808, 2424, 1212)
    assert (found.k, found.acceptance_length, found.steps) == (3, 2.5, 808)
    assert found.step_time == pytest.approx(0.02)
    assert found.draft_seconds == pytest.approx(0.0015)
    assert (found.requests, found.waiting, found.kv_usage) == (8, 2, 0.25)
    assert found.preemptions == 1
    assert found.prompt_tokens_per_second == pytest.approx(500 / 2.08)
    assert 1 < len(found.windows) <= 20
    assert sum(each.rounds for each in found.windows) == 808


def test_other_ranks_tell_the_same_once_more(tmp_path: Path) -> None:
    records = [iteration(i, attentionDpRank=rank) for i in range(5) for rank in (0, 1)]
    assert write(tmp_path / "x.jsonl", records).rounds == 40


def test_a_run_without_drafts(tmp_path: Path) -> None:
    none = {"numDraftTokens": 0, "numAcceptedTokens": 0, "numRequestsWithDraftTokens": 0}
    off = write(tmp_path / "x.jsonl", [iteration(i, specDecodingStats=none) for i in range(5)])
    assert (off.speculates, off.drafted_is_known) == (False, True)
    silent = write(tmp_path / "x.jsonl", [iteration(i, specDecodingStats=None) for i in range(5)])
    assert not silent.drafted_is_known
    assert any("does not tell drafts" in note for note in silent.biases)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"inflightBatchingStats": {"numGenRequests": 0}}, "no iteration that generates"),
        ({"inflightBatchingStats": PREFILL}, "only generates"),
        ({"specDecodingStats": {"numDraftTokens": 24}}, "numRequestsWithDraftTokens"),
        ({"iterLatencyMS": "20"}, "iterLatencyMS is '20'"),
    ],
)
def test_iterations_that_cannot_be(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        write(tmp_path / "x.jsonl", [iteration(i, **more) for i in range(3)])
