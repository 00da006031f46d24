"""llama.cpp's log lines, of several versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read

# One request of llama-server with EAGLE-3, as of June 2026.
LOG = """\
0.06.895.980 I slot print_timing: id  1 | task 0 | prompt eval time =     300.11 ms /    20 tokens \
(   15.01 ms per token,    66.64 tokens per second)
0.06.895.998 I slot print_timing: id  1 | task 0 |        eval time =    2296.72 ms /   256 tokens \
(    8.97 ms per token,   111.46 tokens per second)
0.06.895.999 I slot print_timing: id  1 | task 0 |       total time =    2596.83 ms /   276 tokens
0.06.896.015 I slot print_timing: id  1 | task 0 | draft acceptance = 0.64479 \
(  167 accepted /   259 generated)"""
LENGTH = ", mean acceptance length =  2.92, acceptance rate per position = (0.805, 0.632, 0.483)"
OLD = """\
prompt eval time =     648.99 ms /   133 tokens (    4.88 ms per token,   204.94 tokens per second)
       eval time =   30387.12 ms /  2048 tokens (   14.84 ms per token,    67.40 tokens per second)
      total time =   31036.11 ms /  2181 tokens
draft acceptance rate = 0.98260 ( 1186 accepted /  1207 generated)
"""


def test_a_log(tmp_path: Path) -> None:
    """256 tokens are one with the prompt, 167 accepted, and one each of 88 steps."""
    path = tmp_path / "server.log"
    path.write_text(LOG + LENGTH + "\n")
    found = read(path)
    assert (found.drafted, found.accepted, found.steps) == (259, 167, 88)
    assert found.rounds == pytest.approx(87, abs=0.1)
    assert found.k == pytest.approx(2.98, abs=0.01)
    assert found.survivals == pytest.approx((0.805, 0.632, 0.483))
    assert found.step_time == pytest.approx(2.29672 / 88)
    assert found.step_is_measured
    assert found.tokens_per_second == pytest.approx(255 / 2.29672)


def test_logs_without_the_length_count_every_step_as_a_round(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(LOG + "\n")
    found = read(path)
    assert (found.rounds, found.survivals) == (88, ())
    assert any("count as rounds" in note for note in found.biases)
    path.write_text(OLD)
    assert (read(path).accepted, read(path).steps) == (1186, 2048 - 1 - 1186)


def test_requests_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    once = f"{LOG}{LENGTH}\n"
    path.write_text(once + once.replace("task 0", "task 7"))
    found = read(path)
    assert (found.drafted, found.steps) == (518, 176)
    assert found.step_time == pytest.approx(2.29672 / 88)
    assert found.survivals == pytest.approx((0.805, 0.632, 0.483))
    assert [each.steps for each in found.windows] == [88, 88]
    path.write_text(once + once)
    assert read(path).drafted == 259
    assert any("twice" in note for note in read(path).biases)


def test_statistics_count_rounds_and_the_time_of_drafting(tmp_path: Path) -> None:
    """A lookup finds a draft in 3 of 1,127 steps: those are its rounds, not every step."""
    path = tmp_path / "server.log"
    line = (
        "statistics ngram_mod: #calls = 1127, #gen drafts = {}, #acc drafts = 3, #gen tokens = {}, "
        "#acc tokens = 12, dur = 1.127 ms\n"
    )
    start = (
        "       eval time =    9140.00 ms /  1140 tokens\n"
        "draft acceptance rate = 0.06250 (   12 accepted /   192 generated)\n"
    )
    path.write_text(start + line.format(3, 192))
    found = read(path)
    assert (found.rounds, found.k, found.acceptance_length, found.steps) == (3, 64, 5, 1127)
    assert found.exact_rounds
    assert (found.method, found.draft_seconds) == ("ngram_mod", pytest.approx(1e-6))
    path.write_text(start + line.format(9, 576))  # since the server started: its share counts
    found = read(path)
    assert (found.rounds, found.draft_seconds) == (3, pytest.approx(1e-6 / 3))
    assert not found.exact_rounds
    for broken in (line.format(3, 192)[:60] + "\n", line.format(300, 192)):
        path.write_text(start + broken)
        found = read(path)
        assert found.rounds == 192
        assert any("1 lines are cut off" in note for note in found.biases)


SIMPLE = """\
encoded   10 tokens in    1.900 seconds, speed:    5.263 t/s
decoded  136 tokens in   28.900 seconds, speed:    4.706 t/s

n_draft   = 8
n_predict = 136
n_drafted = 112
n_accept  = 36
accept    = 32.143%

draft:

llama_perf_context_print:        eval time =      23.80 ms /    69 runs   (    0.34 ms per token)
"""


def test_llama_speculative_simple(tmp_path: Path) -> None:
    """Its own block counts, not the runs of draft and target below it."""
    path = tmp_path / "simple.log"
    path.write_text(SIMPLE)
    found = read(path)
    assert (found.drafted, found.accepted, found.steps, found.max_k) == (112, 36, 100, 8)
    assert found.step_time == pytest.approx(0.289)
    assert any("count as rounds" in note for note in found.biases)
    path.write_text(SIMPLE + SIMPLE)
    assert (read(path).steps, len(read(path).windows)) == (200, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n_accept  = 36\n", ""),
        ("n_drafted = 112", "n_drafted = 11"),
        ("accept    = 32.143%\n", ""),
        ("decoded  136", "decoded  13"),
        ("28.900 seconds", "28,900 seconds"),
    ],
)
def test_llama_speculative_simple_cut_off(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "simple.log"
    path.write_text(SIMPLE.replace(old, new))
    with pytest.raises(ReadingError, match="not whole"):
        read(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2296.72 ms /", "2296,72 ms /"),
        ("2296.72 ms /   256", "296.72 ms /   256"),
        ("167 accepted /   259 generated)", "167 accep"),
        ("(  167 accepted", "(  16 accepted"),
        ("length =  2.92, acceptance rate per position = (0.805", "length =  1.92, acceptance rate "
         "per position = (0.805"),
    ],
)  # fmt: skip
def test_a_request_whose_lines_are_cut_is_left_out(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "server.log"
    once = f"{LOG}{LENGTH}\n"
    assert old in once
    broken = once.replace(old, new)
    path.write_text(broken + once.replace("task 0", "task 7"))
    found = read(path)
    assert (found.drafted, found.steps) == (259, 88)
    assert any("are cut off" in note for note in found.biases)
    path.write_text(broken)
    with pytest.raises(ReadingError, match="cut off"):
        read(path)


def test_a_log_without_drafts_is_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("\n".join(LOG.splitlines()[:3]))
    found = read(path)
    assert not found.speculates
    assert found.step_time == pytest.approx(2.29672 / 255)
    assert found.biases == ()


def test_a_log_without_times(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(LOG.splitlines()[-1])
    with pytest.raises(ReadingError, match="no 'eval time' lines"):
        read(path)


def test_times_in_the_log_tell_whether_requests_ran_side_by_side(tmp_path: Path) -> None:
    """Ten seconds each: they end a second apart, and then one begins after the other."""
    path = tmp_path / "server.log"
    line = (
        "0.{:02d}.000.000 I slot print_timing: id {} | task {} |        eval time =   10000.00 ms /"
        "   101 tokens (  99.01 ms per token,    10.10 tokens per second)\n"
    )
    path.write_text(line.format(20, 0, 1) + line.format(21, 1, 2))
    found = read(path)
    assert (found.requests, found.draft_seconds) == (None, None)
    assert "ran side by side" in found.notes[0]
    path.write_text(line.format(20, 0, 1) + line.format(35, 1, 2))
    assert read(path).requests == 1
