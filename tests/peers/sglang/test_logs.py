"""SGLang's decode lines: what a step takes, k out of two meanings of a rate, several engines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read
from fairdraft.peers.sglang.rates import draft_tokens

START = 11 * 3600


def line(
    second: float = 0,
    running: int = 1,
    speed: float = 180.0,
    length: float | None = None,
    rate: float | None = None,
    rank: str = "TP0",
    more: str = "",
) -> str:
    at = int(START + second)
    text = (
        f"[2026-10-22 {at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d} {rank}] Decode batch. "
        f"#running-req: {running}, #token: {int(second * 97)}, token usage: 0.25, {more}"
    )
    if length is not None:
        text += f"accept len: {length:.2f}, "
    if rate is not None:
        text += f"accept rate: {rate:.2f}, "
    return text + f"cuda graph: True, gen throughput (token/s): {speed:.2f}, #queue-req: 3, \n"


def write(path: Path, *lines: str) -> Reading:
    path.write_text("".join(lines))
    return read(path)


def test_a_step_is_requests_times_length_over_throughput(tmp_path: Path) -> None:
    """Two requests at 2.5 tokens a step and 250 tokens/s: 20 ms; 40 steps of them a line."""
    lines = [line(i, 2, 250, 2.5, 0.5) for i in range(5)]
    found = write(tmp_path / "x.log", *lines)
    assert found.step_time == pytest.approx(0.02)
    assert (found.rounds, found.steps, found.acceptance_length) == (400, 400, 2.5)
    assert [each.seconds for each in found.windows] == [pytest.approx(0.8)] * 5
    assert (found.waiting, found.kv_usage, found.requests) == pytest.approx((3, 0.25, 2))
    assert any("40 steps apart" in note for note in found.biases)


def test_long_logs_tell_the_steps_between_two_lines(tmp_path: Path) -> None:
    """A line every 2 s, at 20 ms a step: 100 steps apart."""
    found = write(tmp_path / "x.log", *(line(2 * i, 2, 250, 2.5, 0.5) for i in range(20)))
    assert found.rounds == pytest.approx(20 * 100 * 2)
    assert not any("steps apart" in note for note in found.biases)
    usual = write(tmp_path / "x.log", *(line(0.8 * i, 2, 250, 2.5, 0.5) for i in range(20)))
    assert usual.rounds == 20 * 40 * 2


def test_prompts_between_the_lines(tmp_path: Path) -> None:
    prefill = "[2026-10-22 11:00:00 TP0] Prefill batch. #new-seq: 1, #new-token: 300, \n"
    full = "[2026-10-22 11:00:00 TP0] KV cache pool is full. Retract requests. #retracted_reqs: 2\n"
    found = write(
        tmp_path / "x.log",
        line(0),
        prefill,
        prefill.replace(":00 ", ":01 "),
        full,
        line(1, speed=100),
        line(2),
    )
    assert found.windows[1].prompt_tokens_per_second == pytest.approx(600 / 0.4)
    assert found.windows[0].prompt_tokens_per_second == 0
    assert found.preemptions == 2


def test_engines_run_side_by_side(tmp_path: Path) -> None:
    lines = [line(i, 2, 250, 2.5, 0.5, f"DP{rank} TP0") for i in range(4) for rank in (0, 1)]
    shadows = [line(i, 2, 250, 2.5, 0.5, f"DP{rank} TP1") for i in range(4) for rank in (0, 1)]
    found = write(tmp_path / "x.log", *lines, *shadows)
    assert (found.tokens_per_second, found.requests, found.engines) == (500, 4, 2)
    assert found.step_time == pytest.approx(0.02)
    assert (found.rounds, found.seconds) == (8 * 80, pytest.approx(3.2))
    assert found.windows == ()


def test_a_line_after_a_pause_is_left_out(tmp_path: Path) -> None:
    found = write(tmp_path / "x.log", line(0, 1, 0.4), *(line(i + 1, 1, 150) for i in range(4)))
    assert found.tokens_per_second == 150
    assert any("1 lines follow a pause" in note for note in found.biases)


@pytest.mark.parametrize(
    ("length", "rate", "k"),
    [(2.1, 0.53, 3), (1.95, 0.49, 3), (3.4, 0.68, 4)],
)
def test_the_older_rate_counts_the_bonus_token(length: float, rate: float, k: int) -> None:
    pairs = [(length, rate), (1.8, round(1.8 / (k + 1), 2)), (1.3, round(1.3 / (k + 1), 2))]
    found = draft_tokens(pairs)
    assert (found.tokens, found.is_known) == (k, True)
    assert "counts the bonus token" in found.note


@given(
    st.integers(1, 8),
    st.lists(st.floats(0.05, 0.95), min_size=1, max_size=30),
    st.booleans(),
)
def test_k_is_right_or_said_to_be_biased(k: int, shares: list[float], bonus: bool) -> None:
    pairs: list[tuple[float, float | None]] = []
    for share in shares:
        length = round(1 + share * k, 2)
        pairs.append((length, round(length / (k + 1) if bonus else (length - 1) / k, 2)))
    found = draft_tokens(pairs)
    assert found.tokens == k or "it is too low if" in found.note


def test_without_a_rate_k_is_not_known(tmp_path: Path) -> None:
    found = write(tmp_path / "x.log", *(line(i, 1, 200, 2.5) for i in range(3)))
    assert found.acceptance_length == 2.5
    assert not found.drafted_is_known
    assert any("k is not in the file" in note for note in found.biases)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("accept len: 2.50", "accept len: 2,50"),
        ("(token/s): 250.00", "(token/s): 250"),
        ("#running-req: 2,", "#running-r"),
        ("accept rate: 0.50, cuda graph: True, gen throughput (token/s): 250.00, ", "accept ra"),
        ("cuda graph", "[2026-10-22 11:00:01 TP0] Decode batch. cuda graph"),
    ],
)
def test_lines_that_are_cut_are_left_out(tmp_path: Path, old: str, new: str) -> None:
    lines = [line(i, 2, 250, 2.5, 0.5) for i in range(4)]
    assert old in lines[1]
    lines[1] = lines[1].replace(old, new)
    found = write(tmp_path / "x.log", *lines)
    assert (found.step_time, found.rounds) == (pytest.approx(0.02), 240)
    assert any("1 lines are cut off" in note for note in found.biases)
    with pytest.raises(ReadingError, match="log of SGLang, but no line"):
        write(tmp_path / "x.log", lines[1])


def test_lines_that_stand_there_twice(tmp_path: Path) -> None:
    lines = [line(i, 2, 250, 2.5, 0.5) for i in range(4)]
    found = write(tmp_path / "x.log", *lines, *lines)
    assert found.rounds == 320
    assert any("twice" in note for note in found.biases)


def test_where_nothing_was_accepted_k_is_not_known(tmp_path: Path) -> None:
    """Since May 2026 the rate is 0 then, whatever k is; until then it was 1 / (k + 1)."""
    found = write(tmp_path / "x.log", *(line(i, 2, 250, 1.0, 0.0) for i in range(5)))
    assert (found.acceptance_length, found.drafted_is_known) == (1, False)
    assert any("a rate of 0 fits every k" in note for note in found.biases)
    older = write(tmp_path / "x.log", *(line(i, 2, 250, 1.0, 0.25) for i in range(5)))
    assert (older.k, older.drafted_is_known) == (3, True)


def test_hours_between_two_logs_are_no_steps(tmp_path: Path) -> None:
    once = [line(0.8 * i, 2, 250, 2.5, 0.5) for i in range(20)]
    again = [line(7200 + 0.8 * i, 2, 250, 2.5, 0.5) for i in range(20)]
    assert write(tmp_path / "x.log", *once, *again).rounds == 2 * 20 * 40 * 2
