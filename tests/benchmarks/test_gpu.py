"""The suite for a GPU, tried on the CPU: its sections run, and one that fails hides no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.suites import gpu, gpu_engine, gpu_kernels, gpu_model, gpu_products
from benchmarks.suites.gpu_clock import Deadline

CPU = torch.device("cpu")


def test_texts_and_steps_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "new" / "gpu.json"
    sections = {name: gpu.SECTIONS[name] for name in ("identity", "steps")}
    gpu.run(sections, out, CPU, tiny=True, minutes=4)
    found = json.loads(out.read_text())
    methods = found["identity"]["methods"]
    assert [row for row in methods if "failed" in row or "not_run" in row] == []
    assert all(sum(row["differing"].values()) == 0 for row in methods)
    # A text that no draft had a part in would say nothing; `auto` drafts where its clock says so.
    assert all(row["accepted"] > 0 for row in methods if row["method"] != "auto")
    assert {row["requests"] for row in found["steps"]["steps"]} == {1, 8}
    assert all(row["run"] > 0 for row in found["steps"]["steps"])


def test_what_runs_on_a_device_is_compared_with_what_defines_it() -> None:
    found = gpu_kernels.kernels(CPU, True, Deadline(60))
    assert all(row["error"] < 4e-3 for row in found["attention"])
    assert all(row["different_tokens"] == 0 for row in found["sampling"])
    assert all(row["worst_law_difference"] < 1e-6 for row in found["sampling"])
    assert all(row["worst_logit_difference"] == 0 for row in found["replays"])


def test_a_section_that_fails_is_told_and_the_next_one_runs(tmp_path: Path) -> None:
    def broken(*_: Any) -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    sections = {"broken": broken, "machine": gpu.machine}
    gpu.run(sections, tmp_path / "gpu.json", CPU, tiny=True, minutes=4)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["broken"]["error"] == "RuntimeError: no such kernel"
    assert "no such kernel" in found["broken"]["traceback"][-1]
    assert found["machine"]["device"] == "cpu"


def test_nothing_is_begun_when_the_time_is_up(tmp_path: Path) -> None:
    found = gpu.run({"machine": gpu.machine}, tmp_path / "gpu.json", CPU, tiny=True, minutes=0)
    assert "0 minutes" in found["machine"]["not_run"]
    assert json.loads((tmp_path / "gpu.json").read_text()) == found
    methods = gpu_engine.identity(CPU, True, Deadline(0))["methods"]
    assert all("not_run" in row for row in methods)


def test_a_product_that_depends_on_its_rows_is_found() -> None:
    x, weight = torch.randn(8, 16), torch.randn(4, 16)

    def faulty(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        exact = (x.double() @ weight.double().T).float()
        return exact if len(x) < 5 else exact * (1 + 2**-20)

    found = gpu_products.invariance(faulty, x, weight)
    assert not found["invariant"]
    assert found["other_row_counts"] == [5, 6, 7, 8]
    assert found["first_row_changes"] == [5]
    assert 0 < found["largest_difference"] < 1e-5


def test_padding_changes_no_product() -> None:
    x, weight = torch.randn(5, 16), torch.randn(4, 16)
    for multiple in (1, 5, 16):
        found = gpu_products.padded_product(multiple, x, weight)
        np.testing.assert_allclose(found, x @ weight.T, rtol=1e-5, atol=1e-5)


def test_best_lengths_follow_the_measured_times() -> None:
    flat = dict.fromkeys((1, 64, 576), 10.0)
    for row in gpu_model.best_lengths(flat):
        if row["c"] == 0:  # drafts that cost nothing are as long as they may be
            assert set(row["best_k"].values()) == {gpu_model.LONGEST}
            assert row["off_from"] is None
    steep = {n: float(n) for n in (1, 64, 576)}
    for row in gpu_model.best_lengths(steep):
        assert row["off_from"] == 1
    assert gpu_model.pair({1: 18.2, 5: 9.6 * 2.8})["speedup"] == round(18.2 / 9.6, 3)
