"""`fairdraft plan` with prompts and with a rate: tables, the sentence, JSON, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fairdraft.telemetry.environment import benchmark_environment
from tests.economics.planning.conftest import machine

Run = Callable[..., tuple[int, str, str]]
LENGTHS = ("--prompt-tokens", "50-800", "--output-tokens", "40")


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "p.json"
    found = replace(machine(), environment=benchmark_environment())
    path.write_text(json.dumps(found.to_json()))
    return ("plan", "--profile", str(path), "--alpha", "0.7", "--k", "2,4")


def test_a_rate(
    fairdraft: Run, asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "plan.json"
    code, text, err = fairdraft(*asked, *LENGTHS, "--rate", "0.4", "--out", str(out))
    assert (code, err) == (0, "")
    assert max(map(len, text.partition("To paste:")[0].splitlines())) <= 80
    assert "Prompts of 425 tokens and answers of 40 in the mean" in text
    record = json.loads(out.read_text())
    (rate,) = record["rates"]
    assert f"ngram at 0.4 requests/s: k = {rate['k']}, " in text
    assert "off is never better" in " ".join(text.split())
    assert rate["k"] in (2, 4)
    cells = {cell["k"]: cell for cell in rate["cells"]}
    assert set(cells) == {0, 2, 4}
    assert cells[0]["ttft_seconds"]["p50"] < cells[0]["ttft_seconds"]["p99"]
    assert rate["saturates"] == max(cell["saturates"] for cell in cells.values())
    served = next(cell["served"] for cell in record["cells"] if cell["k"] == 2)
    assert served["tokens_per_second"] > 0


def test_a_load_with_its_prompts_gains_less(
    fairdraft: Run, asked: tuple[str, ...], tmp_path: Path
) -> None:
    found = []
    for words in ((), LENGTHS):
        out = tmp_path / "plan.json"
        code, text, err = fairdraft(*asked, *words, "--concurrency", "1", "--out", str(out))
        assert (code, err) == (0, "")
        found.append(json.loads(out.read_text())["cells"][1]["speedup"]["value"])
        assert ("whole runs, prompts included" in text) == bool(words)
    assert 1 < found[1] < found[0]


def test_files_of_prompts(fairdraft: Run, asked: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt_tokens": 100, "output_tokens": 20}\n')
    _, text, err = fairdraft(*asked, "--prompts", str(path))
    assert "Prompts of 100 tokens and answers of 20" in text, err
    path.write_text(json.dumps({"prompt": "x" * 400}) + "\n")
    _, text, err = fairdraft(*asked, "--prompts", str(path), "--output-tokens", "30")
    assert "Prompts of 100 tokens and answers of 30" in text, err
    assert "a token was taken to be 4 characters" in text
    _, text, err = fairdraft(*asked, "--prompts", "humaneval", "--output-tokens", "30")
    assert "Prompts of " in text, err


def test_where_nothing_keeps_up_it_says_so(
    fairdraft: Run, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, text, err = fairdraft(*asked, *LENGTHS, "--rate", "900", "--max-num-seqs", "2")
    assert "no draft length keeps up" in " ".join(text.split()), err
    cells = [line for line in text.splitlines() if "grows  " in line]
    assert len(cells) == 3  # off, 2, 4
    assert not any("…" in line for line in cells)


def test_answers_of_one_token_have_no_latency_between_tokens(
    fairdraft: Run, asked: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "plan.json"
    words = ("--prompt-tokens", "300", "--output-tokens", "1", "--rate", "1", "--out", str(out))
    code, text, _ = fairdraft(*asked, *words)
    assert code == 0
    assert "ITL none" in " ".join(text.split())
    assert "nan" not in text
    assert "NaN" not in out.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rate", "4"], "needs their lengths: add --prompt-tokens"),
        (["--output-tokens", "4"], "needs their lengths"),
        (["--prompt-tokens", "4"], "needs --output-tokens"),
        ([*LENGTHS, "--prompts", "x"], "give one"),
        ([*LENGTHS, "--rate", "0"], "--rate is 0"),
        ([*LENGTHS, "--rate", "nan"], "--rate is nan"),
        ([*LENGTHS, "--max-num-seqs", "4"], "goes with --rate"),
        ([*LENGTHS, "--rate", "1", "--max-num-seqs", "0"], "max_num_seqs is 0"),
        ([*LENGTHS, "--rate", "1", "--max-num-seqs", "99"], "1 to 99 requests"),
        ([*LENGTHS, "--rate", "1", "--max-num-batched-tokens", "2"], "fewer than the 8"),
        ([*LENGTHS, "--kv-tokens", "0"], "--kv-tokens is 0"),
        ([*LENGTHS, "--kv-tokens", "64"], "a KV pool of 64 tokens has 4"),
        (["--prompt-tokens", "x", "--output-tokens", "4"], "--prompt-tokens is 'x'"),
        (["--prompts", "/nowhere.jsonl"], "neither a file nor a dataset"),
        (["--prompts", "humaneval"], "how long each answer is"),
    ],
)
def test_bad_input(fairdraft: Run, asked: tuple[str, ...], words: list[str], message: str) -> None:
    code, _, err = fairdraft(*asked, *words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
