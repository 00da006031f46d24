"""vLLM's own lines and pages, read; what does not add up is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairdraft.cli.main import main
from fairdraft.errors import ReadingError
from fairdraft.readers import read
from fairdraft.readers.vllm import read_metrics

ENGINE = (
    "INFO 06-01 12:00:{second:02d} [loggers.py:257] Engine 000: Avg prompt throughput: 3.0 "
    "tokens/s, Avg generation throughput: {rate} tokens/s, Running: {running} reqs, Waiting: 0 reqs"
    ", GPU KV cache usage: 0.4%, Prefix cache hit rate: 0.0%\n"
)
SPECULATION = (
    "INFO 06-01 12:00:{second:02d} [metrics.py:120] SpecDecoding metrics: Mean acceptance length: "
    "1.97, Accepted throughput: 63.0 tokens/s, Drafted throughput: 65.2 tokens/s, Accepted: "
    "{accepted} tokens, Drafted: {drafted} tokens, Per-position acceptance rate: {rates}, Avg "
    "Draft acceptance rate: 96.6%\n"
)


def log(path: Path, rates: list[float], speculation: str = "") -> Path:
    """A server's log, an idle window at both ends."""
    lines = [ENGINE.format(second=0, rate="0.0", running=0)]
    for i, rate in enumerate(rates):
        lines += [speculation, ENGINE.format(second=10 * i, rate=rate, running=1)]
    path.write_text("".join([*lines, ENGINE.format(second=59, rate="0.0", running=0)]))
    return path


@pytest.fixture
def public_case(tmp_path: Path) -> tuple[Path, Path]:
    """FACTS.md, section 3: 96.6% accepted, 342 → 128 tokens/s."""
    line = SPECULATION.format(second=5, accepted=630, drafted=652, rates="0.966")
    on = log(tmp_path / "on.log", [127.9, 128.3, 128.0], line)
    return on, log(tmp_path / "off.log", [342.0, 341.0, 343.5])


def test_a_log(public_case: tuple[Path, Path]) -> None:
    on, off = (read(path) for path in public_case)
    assert on.speculates
    assert not off.speculates
    assert (on.accepted, on.drafted, on.rounds, on.k) == (3 * 630, 3 * 652, 3 * 652, 1)
    assert on.acceptance_rate == pytest.approx(0.966, abs=1e-3)
    assert on.accepted_per_position == (pytest.approx(3 * 652 * 0.966),)
    assert not on.step_is_measured
    assert on.step_time == pytest.approx(15.4e-3, abs=0.05e-3)
    assert off.step_time == pytest.approx(2.92e-3, abs=0.01e-3)


def test_diagnose_the_public_case(
    public_case: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    on, off = public_case
    with pytest.raises(SystemExit) as caught:
        main(["diagnose", str(on), "--baseline", str(off)])
    said = capsys.readouterr().out
    assert not caught.value.code
    for words in ("2.92 ms", "15.3", "estimate", "5.25 > 2.00", "no k = 1 drafter can win"):
        assert words in said, said


def test_a_bench_result(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    report = {
        "output_throughput": 150.0,
        "mean_tpot_ms": 20.0,
        "max_concurrency": 4,
        "spec_decode_num_drafts": 100,
        "spec_decode_draft_tokens": 400,
        "spec_decode_accepted_tokens": 150,
        "spec_decode_per_position_acceptance_rates": [0.8, 0.4, 0.2, 0.1],
    }
    path.write_text(json.dumps(report))
    found = read(path)
    assert (found.k, found.acceptance_length) == (4, 2.5)
    assert found.step_is_measured
    assert found.step_time == pytest.approx(0.05)


PAGE = """\
# TYPE vllm:spec_decode_num_drafts counter
vllm:spec_decode_num_drafts_total{{model_name="m",engine="0"}} {drafts}
# TYPE vllm:spec_decode_num_draft_tokens counter
vllm:spec_decode_num_draft_tokens_total{{model_name="m",engine="0"}} {drafted}
# TYPE vllm:spec_decode_num_accepted_tokens counter
vllm:spec_decode_num_accepted_tokens_total{{model_name="m",engine="0"}} {accepted}
# TYPE vllm:spec_decode_num_accepted_tokens_per_pos counter
vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="0"}} {first}
vllm:spec_decode_num_accepted_tokens_per_pos_total{{engine="0",position="1"}} {second}
"""
BEFORE = PAGE.format(drafts=10, drafted=20, accepted=9, first=6, second=3)
AFTER = PAGE.format(drafts=110, drafted=220, accepted=129, first=86, second=43)


def test_two_scrapes() -> None:
    found = read_metrics(BEFORE, AFTER, 10.0, "metrics")
    assert (found.rounds, found.drafted, found.accepted) == (100, 200, 120)
    assert found.accepted_per_position == (80, 40)
    assert found.acceptance_length == pytest.approx(2.2)
    assert found.tokens_per_second == pytest.approx(22)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (AFTER, BEFORE, "restarted in between"),
        (AFTER, AFTER, "nothing was drafted"),
        ("", AFTER, "does not speculate"),
    ],
)
def test_scrapes_that_say_nothing(before: str, after: str, says: str) -> None:
    with pytest.raises(ReadingError, match=says):
        read_metrics(before, after, 10.0, "metrics")


def test_files_that_do_not_do(
    public_case: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on, off = (str(path) for path in public_case)
    other = tmp_path / "other.txt"
    other.write_text("hello")
    idle = str(log(tmp_path / "idle.log", []))
    for words, says in (
        ([off, "--baseline", off], "drafted nothing"),
        ([on, "--baseline", on], "speculates too"),
        ([str(other), "--baseline", off], "nothing that is known here"),
        (["/nowhere.log", "--baseline", off], "cannot be read"),
        ([on, "--baseline", idle], "no window in which anything ran"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["diagnose", *words])
        assert caught.value.code == 2
        assert says in capsys.readouterr().err
