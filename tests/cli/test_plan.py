"""`fairdraft plan`: from files to tables, lines to paste, JSON and a picture; bad input."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.telemetry.environment import benchmark_environment

Run = Callable[..., tuple[int, str, str]]
STOOD = (620, 450, 340, 270, 220, 180)  # of 1000 rounds
LOADS = (1, 8)


def profile(path: Path, cpu: str | None = None) -> Path:
    """Steps of 20 ms that grow with the rows of all requests; two drafters."""
    step = CostSurface(
        Point(n, rows, 128, tuple((0.02 + 0.0005 * n * rows) * x for x in (0.99, 1.0, 1.01)))
        for n in LOADS
        for rows in range(1, 8)
    )
    cheap, dear = (
        CostSurface(Point(n, k, 128, (ms * 1e-3 * k,)) for n in LOADS for k in range(1, 7))
        for ms in (0.1, 2.0)
    )
    found = Profile(
        "toy", "float32", benchmark_environment(), step, step, {"ngram": cheap, "eagle3": dear}
    )
    if cpu:
        found = replace(found, environment={**found.environment, "cpu": cpu})
    path.write_text(json.dumps(found.to_json()))
    return path


def served(path: Path, k: int, n: int, tpot: float, stood: tuple[int, ...] = STOOD) -> Path:
    """A result of `vllm bench serve`: 64 requests, milliseconds a token."""
    accepted = sum(stood[:k])
    report = {
        "output_throughput": n / tpot * 1e3,
        "mean_tpot_ms": tpot,
        "max_concurrency": n,
        "completed": 64,
        "total_output_tokens": 64 + 1000 + accepted,
    }
    if k:
        report |= {
            "spec_decode_num_drafts": 1000,
            "spec_decode_draft_tokens": 1000 * k,
            "spec_decode_accepted_tokens": accepted,
            "spec_decode_per_position_acceptance_rates": [each / 1000 for each in stood[:k]],
        }
    path.write_text(json.dumps(report))
    return path


def sweep(folder: Path) -> Path:
    """k = 0, 2, 6 at 1 and 8 streams: steps of 40 (1 + k / 20) and 60 (1 + k / 6) ms."""
    folder.mkdir()
    for n, step, growth in ((1, 40, 20), (8, 60, 6)):
        for k in (0, 2, 6):
            tpot = step * (1 + k / growth) / (1 + sum(STOOD[:k]) / 1000)
            served(folder / f"k{k}n{n}.json", k, n, tpot)
    return folder


def test_a_sweep(fairdraft: Run, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    code, text, err = fairdraft(
        *("plan", "--sweep", str(sweep(tmp_path / "runs")), "--method", "eagle3"),
        *("--k", "1,2,4,6", "--concurrency", "1,8,16", "--engine", "vllm", "--drafter", "head"),
        *("--tpot-ms", "30", "--price-per-hour", "2", "--out", str(out)),
    )
    assert (code, err) == (0, "")
    assert "not" in text  # measured: 16 at once
    assert "Under 30 ms a token: with speculation" in text
    found = json.loads(out.read_text())
    cells = {(cell["requests"], cell["k"]): cell for cell in found["cells"]}
    for n, growth in ((1, 20), (8, 6)):
        for k in (1, 2, 4, 6):
            cell = cells[n, k]
            expected = (1 + sum(STOOD[:k]) / 1000) / (1 + k / growth)
            assert cell["speedup"]["value"] == pytest.approx(expected)
            assert cell["speedup"]["low"] < expected < cell["speedup"]["high"]
    assert not cells[16, 1]["measured"]
    choices = {choice["requests"]: choice["k"] for choice in found["choices"]}
    assert choices == {1: 6, 8: 4, 16: None}
    assert "8 at once: k = 4; k = 2 if acceptance length falls under" in text
    line = next(line for line in text.splitlines() if "--speculative-config" in line)
    config = json.loads(shlex.split(line)[2])
    assert config == {
        "method": "eagle3",
        "num_speculative_tokens": 6,
        "model": "head",
        "num_speculative_tokens_per_batch_size": [[1, 4, 6], [5, 8, 4]],
    }


def test_a_profile_with_two_drafters(fairdraft: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = served(tmp_path / "run=0.json", 6, 1, 10)
    picture = tmp_path / "plan.png"
    code, text, err = fairdraft(
        *("plan", "--profile", str(profile(tmp_path / "p.json")), "--plot", str(picture)),
        *("--acceptance", str(run), "--method", "ngram", "--alpha", "eagle3=0.7"),
        *("--concurrency", "1,4"),
    )
    assert (code, err) == (0, "")
    assert "method against method" in text
    for engine in ("fairdraft: ", "vllm: ", "sglang: ", "llama.cpp: "):
        assert engine in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_table_fits_80_columns_and_every_line_to_paste_is_one_line(
    fairdraft: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, text, _ = fairdraft(
        *("plan", "--profile", str(profile(tmp_path / "p.json"))),
        *("--alpha", "ngram=0.5", "--alpha", "eagle3=0.8", "--concurrency", "1,2,3,4,5,6,7,8"),
        *("--tpot-ms", "40", "--price-per-hour", "2", "--drafter", "a/rather/long/path/to/a/head"),
    )
    assert code == 0
    before, _, lines = text.partition("To paste:\n")
    assert max(map(len, before.splitlines())) <= 80
    assert all(f"{n} at once" in before for n in range(1, 9))
    starts = [line.split(":")[0].strip() for line in lines.splitlines()]
    assert starts == ["fairdraft", "vllm", "sglang", "llama.cpp"]


def test_a_checkpoint_that_is_not_named_is_asked_for(fairdraft: Run, tmp_path: Path) -> None:
    code, text, _ = fairdraft(
        *("plan", "--profile", str(profile(tmp_path / "p.json")), "--alpha", "eagle3=0.8"),
    )
    assert code == 0
    assert "(eagle3 needs a checkpoint: name it with --drafter" in text
    assert "DRAFTER" not in text


def test_a_mix(fairdraft: Run, tmp_path: Path) -> None:
    run = served(tmp_path / "code.json", 6, 1, 10)
    out = tmp_path / "plan.json"
    code, _, err = fairdraft(
        *("plan", "--profile", str(profile(tmp_path / "p.json")), "--method", "ngram"),
        *("--mix", f"code=0.7:{run}", "--mix", "chat=0.3:0.4", "--k", "2", "--out", str(out)),
    )
    assert (code, err) == (0, "")
    cell = json.loads(out.read_text())["cells"][1]
    assert cell["tokens_per_step"] == pytest.approx(1 / (0.7 / 2.07 + 0.3 / 1.56))


def test_an_upgrade(fairdraft: Run, tmp_path: Path) -> None:
    before = served(tmp_path / "a.json", 2, 1, 10, (500, 250))
    after = served(tmp_path / "b.json", 2, 1, 10, (800, 640))
    out = tmp_path / "plan.json"
    code, text, err = fairdraft(
        *("plan", "--profile", str(profile(tmp_path / "p.json")), "--method", "eagle3"),
        *("--before", str(before), "--after", f"eagle3={after}", "--price-per-hour", "2"),
        *("--concurrency", "1", "--k", "2", "--out", str(out)),
    )
    assert (code, err) == (0, "")
    assert "before → after" in text
    (found,) = json.loads(out.read_text())["upgrade"]
    assert found["gain"]["value"] == pytest.approx(2.44 / 1.75)
    assert found["gain"]["low"] < 2.44 / 1.75 < found["gain"]["high"]
    assert found["dollars_saved_per_million"] > 0


def test_off(fairdraft: Run, tmp_path: Path) -> None:
    code, text, _ = fairdraft(
        *("plan", "--profile", str(profile(tmp_path / "p.json")), "--alpha", "eagle3=0.05"),
        *("--engine", "vllm"),
    )
    assert code == 0
    assert "off; k = 1 pays from acceptance length" in text
    assert "(off: start it without --speculative-config)" in text


def test_extrapolated_cells_are_marked(fairdraft: Run, tmp_path: Path) -> None:
    path = str(profile(tmp_path / "p.json"))
    args = ("plan", "--profile", path, "--alpha", "ngram=0.7", "--k", "2,9", "--concurrency", "1")
    _, without, _ = fairdraft(*args)
    assert "not measured" in without
    assert " ~2" not in without
    _, marked, _ = fairdraft(*args, "--extrapolate")
    assert "not measured" not in marked
    assert "~" in next(line for line in marked.splitlines() if line.split()[:1] == ["9"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give one of the two"),
        (["--profile", "P", "--sweep", "S"], "give one of the two"),
        (["--profile", "/nowhere.json", "--alpha", "0.7"], "cannot be read"),
        (["--profile", "OTHER", "--alpha", "0.7"], "pass --force"),
        (["--profile", "P"], "no acceptance to plan with"),
        (["--profile", "P", "--alpha", "0.7"], "which drafter"),
        (["--profile", "P", "--alpha", "ngram=1.2"], "alpha is 1.2"),
        (["--profile", "P", "--alpha", "ngram=nan"], "alpha is nan"),
        (["--profile", "P", "--alpha", "ngram=high"], "--alpha is 'high'"),
        (["--profile", "P", "--alpha", "ngram=.5", "--alpha", "ngram=.6"], "given twice"),
        (["--profile", "P", "--alpha", "0.7", "--method", "medusa"], "'medusa' was not measured"),
        (["--profile", "P", "--survivals", "ngram=0.5,0.6"], "must not rise"),
        (["--profile", "P", "--method", "ngram", "--mix", "a=0.7:0.5"], "add up to 0.7"),
        (["--profile", "P", "--method", "ngram", "--mix", "0.7:0.5"], "NAME=SHARE:WHAT"),
        (["--profile", "P", "--method", "ngram", "--acceptance", "OFF"], "drafted nothing"),
        (["--profile", "P", "--alpha", "ngram=.7", "--k", "1000000"], "512 tokens at most"),
        (["--profile", "P", "--alpha", "ngram=.7", "--k", "0,1"], "k is 0"),
        (["--profile", "P", "--alpha", "ngram=.7", "--k", "many"], "--k is 'many'"),
        (["--profile", "P", "--alpha", "ngram=.7", "--concurrency", "-1"], "concurrency is -1"),
        (["--profile", "P", "--alpha", "ngram=.7", "--context", "-5"], "--context is -5"),
        (["--profile", "P", "--alpha", "ngram=.7", "--context", "4000"], "context up to 128"),
        (["--profile", "P", "--alpha", "ngram=.7", "--tpot-ms", "-1"], "--tpot-ms is -1"),
        (["--profile", "P", "--alpha", "ngram=.7", "--tpot-ms", "nan"], "--tpot-ms is nan"),
        (["--profile", "P", "--alpha", "ngram=.7", "--price-per-hour", "0"], "--price-per-hour"),
        (["--profile", "P", "--before", "a"], "belong together"),
        (["--profile", "P", "--mix", "a=1:.7", "--before", "a", "--after", "b"], "replace"),
        (["--profile", "P", "--alpha", "ngram=.7", "--engine", "tgi"], "--engine is 'tgi'"),
        (["--profile", "P", "--alpha", "ngram=.7", "--out", "/no/such/x"], "cannot be written"),
        (["--profile", "P", "--alpha", "ngram=.7", "--plot", "x.doc"], "its suffix must be"),
        (["--sweep", "EMPTY"], "is empty"),
        (["--sweep", "S/k2n1.json", "--sweep", "S/k6n1.json"], "(k = 0)"),
        (["--sweep", "S/k0n1.json"], "no run with speculation"),
        (["--sweep", "S", "--context", "5"], "--context goes with --profile"),
    ],
)
def test_bad_input(fairdraft: Run, tmp_path: Path, args: list[str], message: str) -> None:
    runs = sweep(tmp_path / "S")
    (tmp_path / "EMPTY").mkdir()
    places = {
        "P": profile(tmp_path / "P.json"),
        "OTHER": profile(tmp_path / "O.json", cpu="another"),
        "OFF": runs / "k0n1.json",
        "EMPTY": tmp_path / "EMPTY",
        "S": runs,
    }
    given = [
        str(runs / arg[2:]) if arg.startswith("S/") else str(places.get(arg, arg)) for arg in args
    ]
    code, _, err = fairdraft("plan", *given)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_drafters_of_one_file_are_not_mixed(fairdraft: Run, tmp_path: Path) -> None:
    """Our own benchmark has cells of several methods: one of them, and off, is a sweep."""

    def cell(method: str, k: int, seconds: float) -> dict[str, object]:
        drafts = {"drafted_per_pos": [100] * k, "accepted_per_pos": [60, 40][:k]}
        counters = {"num_drafts": 100 * (k > 0), "num_draft_tokens": 100 * k, "num_steps": 100}
        counters["num_accepted_tokens"] = sum(drafts["accepted_per_pos"])
        times = dict.fromkeys(("schedule", "verify", "update", "propose"), 0.0)
        return {
            "dataset": "text",
            "concurrency": 1,
            "method": method,
            "k": k,
            "tokens_per_second": 40.0,
            "counters": {**counters, **drafts},
            "times": {**times, "run": 100 * seconds, "num_steps": 100},
        }

    cells = [cell("none", 0, 0.02), cell("ngram", 2, 0.025), cell("suffix", 2, 0.05)]
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"environment": {}, "settings": {}, "cells": cells}))
    code, _, err = fairdraft("plan", "--sweep", str(path))
    assert code == 2
    assert "several drafters (ngram, suffix)" in err
    out = tmp_path / "plan.json"
    for method, gain in (("ngram", 2 * 0.8), ("suffix", 2 * 0.4)):
        code, _, err = fairdraft(
            *("plan", "--sweep", str(path), "--method", method, "--out", str(out))
        )
        assert (code, err) == (0, "")
        found = json.loads(out.read_text())["cells"][-1]
        assert (found["method"], found["k"]) == (method, 2)
        assert found["speedup"]["value"] == pytest.approx(gain)


def test_a_profile_of_another_machine_can_be_forced(fairdraft: Run, tmp_path: Path) -> None:
    path = profile(tmp_path / "p.json", cpu="another")
    code, _, err = fairdraft("plan", "--profile", str(path), "--alpha", "ngram=0.7", "--force")
    assert (code, err) == (0, "")
