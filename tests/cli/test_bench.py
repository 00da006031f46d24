"""A tiny grid from the command line to the picture, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairdraft.llm import LLM
from fairdraft.telemetry.environment import benchmark_environment

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(fairdraft: Run, tiny: str, prompts_file: str, tmp_path: Path) -> Run:
    def run(*args: str) -> tuple[int, str, str]:
        fixed = ("--model", tiny, "--dtype", "float32", "--out", str(tmp_path / "out.json"))
        small = ("--num-prompts", "4", "--max-tokens", "40", "--rounds", "2")
        return fairdraft("bench", "run", prompts_file, *fixed, *small, *args)

    return run


def test_a_grid_is_written_shown_and_drawn(bench: Run, fairdraft: Run, tmp_path: Path) -> None:
    code, out, _ = bench("--k", "1,4", "--concurrency", "1,4")
    assert code == 0
    assert "prompts " in out
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["complete"]
    assert result["memory"] == "cleared"
    assert result["environment"]["torch"]
    settings = [(cell["concurrency"], cell["method"], cell["k"]) for cell in result["cells"]]
    assert settings == [
        (n, m, k) for n in (1, 4) for m, k in (("none", 0), ("ngram", 1), ("ngram", 4))
    ]
    for cell in result["cells"]:
        assert_consistent(cell)

    code, out, _ = fairdraft("bench", "plot", str(tmp_path / "out.json"))
    assert code == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = fairdraft("bench", "plot", str(tmp_path / "out.json"), "--out", "x.nope")
    assert code == 2
    assert "use .png" in err


def assert_consistent(cell: dict[str, Any]) -> None:
    counters = cell["counters"]
    assert [sample["num_tokens"] for sample in cell["samples"]] == [4 * 40] * 2
    assert counters["num_emitted_tokens"] == 2 * 4 * 40
    assert len(counters["drafted_per_pos"]) == cell["k"]
    assert sum(counters["accepted_per_pos"]) == counters["num_accepted_tokens"]
    assert (counters["num_accepted_tokens"] > 0) == (cell["method"] == "ngram")
    assert cell["speedup"] == 1 or cell["method"] == "ngram"
    assert cell["times"]["run"] > 0


def test_without_the_reference_there_is_no_speedup(
    bench: Run, fairdraft: Run, tmp_path: Path
) -> None:
    assert bench("--methods", "ngram", "--k", "2", "--rounds", "1")[0] == 0
    path = tmp_path / "out.json"
    assert json.loads(path.read_text())["cells"][0]["speedup"] is None
    assert fairdraft("bench", "plot", str(path))[0] == 0


def test_kept_memory_is_said_aloud(bench: Run, tmp_path: Path) -> None:
    code, out, _ = bench("--methods", "suffix", "--k", "2", "--rounds", "1", "--keep-memory")
    assert code == 0
    assert "Memory was kept" in " ".join(out.split())
    assert json.loads((tmp_path / "out.json").read_text())["memory"] == "kept"


def test_ctrl_c_keeps_what_is_finished(
    bench: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate, calls = LLM.generate, iter(range(100))

    def interrupted(self: LLM, *args: Any, **options: Any) -> Any:
        if next(calls) == 2 + 2 * 1 + 1:  # two warm-ups, round 1, one cell of round 2
            raise KeyboardInterrupt
        return generate(self, *args, **options)

    monkeypatch.setattr(LLM, "generate", interrupted)
    code, out, _ = bench("--k", "2", "--concurrency", "4")
    assert code == 130
    assert "Interrupted" in out
    result = json.loads((tmp_path / "out.json").read_text())
    assert not result["complete"]
    assert [len(cell["samples"]) for cell in result["cells"]] == [2, 1]


def test_a_failure_before_the_first_round_leaves_an_older_file_alone(
    bench: Run, tmp_path: Path
) -> None:
    (tmp_path / "out.json").write_text("old")
    assert bench("--methods", "oracle")[0] == 2
    assert (tmp_path / "out.json").read_text() == "old"


def test_environment_says_what_a_reader_needs() -> None:
    found = benchmark_environment()
    json.dumps(found)
    assert found["cores"] >= 1
    assert found["memory_gib"] is None or found["memory_gib"] > 0
    assert {"cpu", "python", "torch", "transformers", "numba", "fairdraft", "date"} <= set(found)
