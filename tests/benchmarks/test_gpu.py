"""The sections that wait for a GPU, tried on the CPU with tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from time import sleep

import pytest
import torch

from benchmarks.gpu.identity import identity
from benchmarks.gpu.profile import kind_of
from benchmarks.gpu.sections import Report, Setting, keep, run_section
from benchmarks.suites import gpu

CPU = torch.device("cpu")


def test_what_the_sections_find_is_written_whole(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    names = ("machine", "kernels", "invariance", "steps", "profile")
    arguments = ["--device", "cpu", "--tiny", "--minutes", "2", "--only", ",".join(names)]
    gpu.main([*arguments, "--out", str(out)])
    report = json.loads(out.read_text())
    assert tuple(report) == names
    for name in names:
        assert "error" not in report[name], report[name]
    assert all(row["error"] < 4e-3 for row in report["kernels"]["attention"])
    assert all(row["different_tokens"] == 0 for row in report["kernels"]["sampling"])
    assert {row["rows"] for row in report["steps"]["rows"]} == {1, 2, 3, 5}
    assert all(row["step_ms"] > 0 < row["floor_ms"] for row in report["steps"]["rows"])
    assert report["steps"]["best_k"]
    assert report["invariance"]["products"]


def test_every_method_is_compared(tmp_path: Path) -> None:
    setting = Setting(CPU, tiny=True, seconds=6)
    found = run_section(identity, setting)
    assert "error" not in found, found
    compared = {row["method"] for row in found["rows"]}
    left_out = {name.partition(",")[0] for name in found["left_out"]}
    expected = {"off", "ngram", "suffix", "suffix-trees", "hybrid", "auto", "self", "self-trees"}
    expected |= {f"{kind}{shape}" for kind in ("eagle3", "medusa") for shape in ("", "-trees")}
    assert expected <= compared | left_out
    for row in found["rows"]:
        assert "error" not in row, row
        assert not row.get("unexplained"), row


def test_a_section_that_fails_says_so_and_keeps_what_it_found() -> None:
    def fails(setting: Setting, found: Report) -> None:
        found["before"] = 1
        raise RuntimeError("no kernel image is available")

    found = run_section(fails, Setting(CPU, tiny=True, seconds=5))
    assert found["before"] == 1
    assert found["error"] == "RuntimeError: no kernel image is available"
    assert any("in fails" in line for line in found["traceback"])


def test_a_section_that_hangs_is_stopped() -> None:
    def hangs(setting: Setting, found: Report) -> None:
        sleep(60)

    found = run_section(hangs, Setting(CPU, tiny=True, seconds=0.0))
    assert found["error"].startswith("TimeoutError")
    assert found["seconds"] < 10


def test_a_report_is_never_half_written(tmp_path: Path) -> None:
    keep(tmp_path / "gpu.json", {"a": 1})
    with pytest.raises(TypeError):
        keep(tmp_path / "gpu.json", {"a": object()})
    assert json.loads((tmp_path / "gpu.json").read_text()) == {"a": 1}


def test_sections_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(tmp_path / "x.json"), "--only", "machine,kernel"])
    assert "--only names 'kernel'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_hsh_64x8_64x16_4x1_v_bz_TNT", "products"),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80", "attention"),
        ("void at::native::index_elementwise_kernel<128, 4>", "gathers"),
        ("Memcpy DtoH (Device -> Pageable)", "copies"),
        ("void at::native::vectorized_elementwise_kernel<4>", "elementwise"),
    ],
)
def test_kernels_are_sorted_by_name(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind
