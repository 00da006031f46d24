"""Results of `fairdraft bench run`, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_all

TIMES = {"schedule": 0.05, "run": 8.4, "verify": 0.2, "update": 0.05, "propose": 0.1}


def cell(method: str, k: int, **counters: Any) -> dict[str, Any]:
    return {
        "dataset": "humaneval",
        "concurrency": 8,
        "method": method,
        "k": k,
        "tokens_per_second": 173.4,
        "counters": {
            "num_steps": 1062,
            "num_drafts": 0,
            "num_draft_tokens": 0,
            "num_accepted_tokens": 0,
            "drafted_per_pos": [],
            "accepted_per_pos": [],
            **counters,
        },
        "times": {**TIMES, "num_steps": 176, "total": 8.8},
        "samples": [],
    }


NGRAM = {
    "num_drafts": 158,
    "num_draft_tokens": 620,
    "num_accepted_tokens": 474,
    "drafted_per_pos": [158, 156, 154, 152],
    "accepted_per_pos": [142, 120, 110, 102],
}


def bench(path: Path, *cells: object) -> Path:
    path.write_text(json.dumps({"environment": {}, "settings": {}, "cells": list(cells)}))
    return path


def test_a_reading_a_cell(tmp_path: Path) -> None:
    path = bench(tmp_path / "bench.json", cell("none", 0), cell("ngram", 4, **NGRAM))
    off, on = read_all(path)
    assert [off.label, on.label] == ["humaneval/none/k=0/n=8", "humaneval/ngram/k=4/n=8"]
    assert off.step_time == pytest.approx(8.8 / 176)
    assert on.survivals == pytest.approx((142 / 158, 120 / 156, 110 / 154, 102 / 152))
    assert on.tokens_per_step == pytest.approx(1 + 474 / 1062)
    assert on.requests == pytest.approx(1062 / 176)
    assert read(f"{path}#humaneval/ngram/k=4/n=8").drafted == 620
    with pytest.raises(ReadingError, match="has no 'humaneval'"):
        read(f"{path}#humaneval")


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([], "holds no cell"),
        ([{}], "counters is None"),
        ([cell("ngram", 4, num_drafts="many")], "num_drafts is 'many'"),
        ([cell("ngram", 4, **NGRAM | {"num_accepted_tokens": 700})], "700 of 620"),
        (["x"], "must be a list of JSON objects"),
    ],
)
def test_a_benchmark_that_is_broken(tmp_path: Path, cells: list[object], says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        read_all(bench(tmp_path / "bench.json", *cells))
