"""SGLang's /server_info: means, step times, and pages that say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


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
