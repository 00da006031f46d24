"""vLLM's own log lines, read; what does not add up is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read

ENGINE = (
    "INFO 06-01 12:00:{second:02d} [loggers.py:257] Engine 000: Avg prompt throughput: 3.0 "
    "tokens/s, Avg generation throughput: {rate} tokens/s, Running: {running} reqs, Waiting: 0 reqs"
    ", GPU KV cache usage: 0.4%, Prefix cache hit rate: 0.0%\n"
)
SPECULATION = (
    "INFO 06-01 12:00:{second:02d} [metrics.py:120] SpecDecoding metrics: Mean acceptance length: "
    "{length}, Accepted throughput: 63.0 tokens/s, Drafted throughput: {speed} tokens/s, Accepted: "
    "{accepted} tokens, Drafted: {drafted} tokens, Per-position acceptance rate: {rates}, Avg "
    "Draft acceptance rate: 96.6%\n"
)
PUBLIC = SPECULATION.format(
    second=5, length="1.97", speed="65.2", accepted=630, drafted=652, rates="0.966"
)


def log(path: Path, rates: list[float], speculation: str = "", running: int = 1) -> Path:
    """A server's log, an idle window at both ends."""
    lines = [ENGINE.format(second=0, rate="0.0", running=0)]
    for i, rate in enumerate(rates):
        lines += [speculation, ENGINE.format(second=10 * i, rate=rate, running=running)]
    path.write_text("".join([*lines, ENGINE.format(second=59, rate="0.0", running=0)]))
    return path


def test_a_log(tmp_path: Path) -> None:
    """FACTS.md, section 3: 96.6% accepted, 342 → 128 tokens/s."""
    on = read(log(tmp_path / "on.log", [127.9, 128.3, 128.0], PUBLIC))
    off = read(log(tmp_path / "off.log", [342.0, 341.0, 343.5]))
    assert on.speculates
    assert not off.speculates
    assert (on.accepted, on.drafted, on.rounds, on.k) == (3 * 630, 3 * 652, 3 * 652, 1)
    assert on.acceptance_rate == pytest.approx(0.966, abs=1e-3)
    assert on.accepted_per_position == (pytest.approx(3 * 652 * 0.966),)
    assert on.draft_share == 1
    assert on.biases == ("rounds are worked out, not counted",)
    assert not on.step_is_measured
    assert on.step_time == pytest.approx(15.4e-3, abs=0.05e-3)
    assert off.step_time == pytest.approx(2.92e-3, abs=0.01e-3)


def test_windows_without_a_draft_are_steps_too(tmp_path: Path) -> None:
    """n-gram: 10 s windows of 40 tokens/s, in which 40 rounds of 3 drafts gain 60 tokens each."""
    line = SPECULATION.format(
        second=5, length="2.50", speed="12.00", accepted=60, drafted=120, rates="0.7, 0.5, 0.3"
    )
    path = log(tmp_path / "x.log", [40.0] * 4, line)
    after_a_pause = path.read_text().replace("throughput: 12.00", "throughput: 0.20", 1)
    path.write_text(after_a_pause)
    found = read(path)
    assert found.rounds == 160
    assert found.steps == pytest.approx(4 * 400 - 4 * 60)
    assert found.tokens_per_step == pytest.approx(1600 / 1360)


def test_a_log_in_which_k_varied_believes_the_printed_length(tmp_path: Path) -> None:
    """120 drafts of at most 3 are 40 rounds, but 1 + 60/40 is not the 2.00 that is printed."""
    line = SPECULATION.format(
        second=5, length="2.00", speed="12.00", accepted=60, drafted=120, rates="0.6, 0.3, 0.1"
    )
    found = read(log(tmp_path / "x.log", [40.0], line))
    assert found.rounds == 60
    assert found.k == 2
    assert any("k varied" in note for note in found.biases)


def test_an_older_line(tmp_path: Path) -> None:
    line = (
        "INFO 09-09 11:51:35 [metrics.py:96] SpecDecoding metrics: Draft acceptance rate: 88.8%, "
        "Mean acceptance length: 5.44, Accepted: 262 tokens, Drafted: 295 tokens, Per-position "
        "acceptance rate: 0.983, 0.949, 0.915, 0.881, 0.712\n"
    )
    found = read(log(tmp_path / "x.log", [40.0], line))
    assert (found.rounds, found.k, len(found.survivals)) == (59, 5, 5)
    assert found.survivals[-1] == pytest.approx(0.712)


def test_a_log_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="no window in which anything ran"):
        read(log(tmp_path / "idle.log", []))
