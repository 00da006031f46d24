"""A trace is one JSON object a line, whole once the file is closed."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from fairdraft.errors import ConfigError
from fairdraft.telemetry import StepTrace

RECORDS: list[dict[str, Any]] = [
    {"step": 0, "times": {"run": 0.25}, "requests": []},
    {"step": 1, "requests": [{"request_id": "é\n🙂", "token_ids": [1, 2], "num_accepted": 1}]},
]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_a_step_in_order(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with StepTrace(path) as trace:
        for record in RECORDS:
            trace.write(record)
    assert read(path) == RECORDS


def test_an_older_trace_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("old\n" * 100)
    trace = StepTrace(str(path))
    trace.write(RECORDS[0])
    trace.close()
    assert read(path) == RECORDS[:1]


def test_an_error_in_the_loop_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with contextlib.suppress(KeyboardInterrupt), StepTrace(path) as trace:
        trace.write(RECORDS[0])
        raise KeyboardInterrupt
    assert read(path) == RECORDS[:1]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "trace.jsonl", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be written.*existing folder") as caught:
            StepTrace(path)
        assert str(path) in str(caught.value)
