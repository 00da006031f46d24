"""`fairdraft diagnose` names the cause, and refuses what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft import LLM, SamplingParams
from fairdraft.peers import read

Run = Callable[..., tuple[int, str, str]]

ENGINE = (
    "INFO 06-01 12:00:09 [loggers.py:257] Engine 000: Avg prompt throughput: 3.0 tokens/s, Avg "
    "generation throughput: {rate} tokens/s, Running: 1 reqs, Waiting: 0 reqs\n"
)
SPECULATION = (
    "INFO 06-01 12:00:09 [metrics.py:120] SpecDecoding metrics: Mean acceptance length: 1.97, "
    "Accepted throughput: 63.0 tokens/s, Drafted throughput: 65.2 tokens/s, Accepted: 630 tokens, "
    "Drafted: 652 tokens, Per-position acceptance rate: 0.966, Avg Draft acceptance rate: 96.6%\n"
)


@pytest.fixture
def on(tmp_path: Path) -> str:
    """FACTS.md, section 3: 96.6% accepted, 342 → 128 tokens/s."""
    path = tmp_path / "on.log"
    rates = ("127.9", "128.3", "128.0")
    path.write_text("".join(ENGINE.format(rate=rate) + SPECULATION for rate in rates))
    return str(path)


@pytest.fixture
def off(tmp_path: Path) -> str:
    path = tmp_path / "off.log"
    path.write_text("".join(ENGINE.format(rate=rate) for rate in ("342.0", "341.0", "343.5")))
    return str(path)


def test_the_public_case(fairdraft: Run, on: str, off: str) -> None:
    code, out, _ = fairdraft("diagnose", on, "--baseline", off)
    assert code == 0
    for words in ("2.92 ms", "15.35 ms", "estimate", "5.25 > 2.00", "no k = 1 drafter can win"):
        assert words in out, out
    assert "Likely cause (high confidence): step cost" in out
    assert "Note: rounds are worked out, not counted." in out


def rows(path: Path, length: float, step: float, n: int = 1) -> str:
    """bench_speculative.py's lines: off at 10 ms, and k = 3."""
    lines = []
    for steps, acceptance, seconds in ((0, 1.0, 0.01), (3, length, step)):
        row = {"batch_size": n, "steps": steps, "acc_length": acceptance, "step_time": seconds}
        lines.append(json.dumps(row | {"speed": acceptance / seconds}))
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(
    ("length", "step", "n", "says"),
    [
        (2.8, 0.0125, 1, "it pays"),
        (1.15, 0.0125, 1, "drafter mismatch"),
        (2.2, 0.025, 1, "step cost"),
        (2.2, 0.025, 32, "saturation"),
    ],
)
def test_the_cause_from_one_file(
    fairdraft: Run, tmp_path: Path, length: float, step: float, n: int, says: str
) -> None:
    path = rows(tmp_path / "output.jsonl", length, step, n)
    words = (f"{path}#n={n},steps=3", "--baseline", f"{path}#n={n},steps=0")
    code, out, _ = fairdraft("diagnose", *words)
    assert code == 0
    assert f"confidence): {says}" in out.split("Also possible")[0]
    assert "estimate" not in out
    assert "no interval can be told" in out


def test_what_fairdraft_itself_writes(
    fairdraft: Run, tiny: str, prompts_file: str, tmp_path: Path
) -> None:
    """The benchmark and the step trace, made here, so that a change of theirs is noticed."""
    result = str(tmp_path / "bench.json")
    words = ("--num-prompts", "4", "--max-tokens", "96", "--rounds", "1", "--concurrency", "2")
    words += ("--methods", "none,ngram", "--k", "3", "--model", tiny, "--out", result)
    assert fairdraft("bench", "run", prompts_file, *words)[0] == 0
    cells = [f"{result}#prompts/{name}/n=2" for name in ("ngram/k=3", "none/k=0")]
    code, out, err = fairdraft("diagnose", cells[0], "--baseline", cells[1])
    assert code == 0, err
    assert "What it lacks of a sound run's speed" in out
    trace = tmp_path / "trace.jsonl"
    speculation = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_min": 1}
    llm = LLM(tiny, dtype="float32", speculative_config=speculation, trace=trace)
    (output,) = llm.generate(["ababababab"], SamplingParams(temperature=0, max_tokens=24))
    llm.close()
    found = read(trace)
    spec = output.spec
    assert (found.rounds, found.drafted, found.accepted, found.steps) == (
        spec.num_drafts,
        spec.num_draft_tokens,
        spec.num_accepted_tokens,
        spec.num_steps,
    )
    assert found.drafted_per_position == tuple(spec.drafted_per_pos)
    assert found.requests == 1


def test_few_drafts_and_another_load_are_said(fairdraft: Run, tmp_path: Path) -> None:
    report = {"output_throughput": 100.0, "mean_tpot_ms": 10.0, "completed": 10}
    plain, spec = tmp_path / "off.json", tmp_path / "on.json"
    plain.write_text(json.dumps(report | {"total_output_tokens": 1010, "max_concurrency": 1}))
    counts = {"num_drafts": 20, "draft_tokens": 80, "accepted_tokens": 20}
    spec.write_text(
        json.dumps(
            report
            | {"total_output_tokens": 1010, "max_concurrency": 8, "mean_tpot_ms": 11.0}
            | {f"spec_decode_{name}": count for name, count in counts.items()}
        )
    )
    code, out, _ = fairdraft("diagnose", str(spec), "--baseline", str(plain))
    assert code == 0
    assert "1.02, for 2% of the steps have a draft" in out
    assert "Likely cause (high confidence): workload" in out
    assert "1.0 requests ran without speculation and 8.0 with it" in out


def test_what_cannot_be_read(fairdraft: Run, on: str, off: str, tmp_path: Path) -> None:
    other, torn, empty = (tmp_path / name for name in ("other.txt", "torn.json", "empty.log"))
    other.write_text("hello")
    torn.write_text('{"output_throughput": 1')
    empty.write_bytes(b"")
    binary, folder, untimed = (tmp_path / name for name in ("x.bin", "folder", "untimed.json"))
    binary.write_bytes(bytes(range(256)))
    folder.mkdir()
    untimed.write_text('{"output_throughput": 1.0}')
    several = rows(tmp_path / "output.jsonl", 2.0, 0.02)
    for spec, baseline, says in (
        (off, off, "drafted nothing"),
        (on, on, "speculates too"),
        (other, off, "nothing that is known here"),
        (torn, off, "cut off or broken"),
        (empty, off, "is empty"),
        (binary, off, "is binary"),
        (folder, off, "no finished run of a sweep"),
        (several, off, "holds 2 measurements"),
        (f"{several}#k=9", off, "has no 'k=9'"),
        (on, untimed, "step time"),
        ("/nowhere.log", off, "cannot be read"),
        ("http://127.0.0.1:1", off, "cannot be reached"),
    ):
        code, out, err = fairdraft("diagnose", str(spec), "--baseline", str(baseline))
        assert (code, out) == (2, ""), says
        assert err.startswith("error: ")
        assert says in err
        assert "Traceback" not in err
        assert err.count("\n") == 1


def test_seconds_between_scrapes(fairdraft: Run, off: str) -> None:
    code, _, err = fairdraft("diagnose", "http://x", "--baseline", off, "--seconds", "0")
    assert code == 2
    assert "wait more than 0" in err
