"""Sweeps: files and folders become the runs of one method and of none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairdraft.economics.costs.step_costs import SWEPT
from fairdraft.economics.planning.sweep import longest_acceptance, sweep_runs
from fairdraft.errors import ReadingError

STOOD = (0.6, 0.3, 0.2, 0.1)


def served(path: Path, k: int) -> Path:
    report: dict[str, object] = {"output_throughput": 90.0, "mean_tpot_ms": 9, "max_concurrency": 1}
    if k:
        report |= {
            "spec_decode_num_drafts": 1000,
            "spec_decode_draft_tokens": 1000 * k,
            "spec_decode_accepted_tokens": 1000 * sum(STOOD[:k]),
            "spec_decode_per_position_acceptance_rates": STOOD[:k],
        }
    path.write_text(json.dumps(report))
    return path


def test_a_folder_of_files(tmp_path: Path) -> None:
    for k in (0, 2, 4):
        served(tmp_path / f"k{k}.json", k)
    runs, method = sweep_runs([tmp_path], None)
    assert ([run.k for run in runs], method) == ([0, 2, 4], SWEPT)
    assert sweep_runs([tmp_path], "eagle3")[1] == "eagle3"
    assert longest_acceptance(runs).longest == 4


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="is empty"):
        sweep_runs([tmp_path], None)
