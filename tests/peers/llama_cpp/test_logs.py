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
    path.write_text(f"{LOG}{LENGTH}\n{LOG}{LENGTH}\n")
    found = read(path)
    assert (found.drafted, found.steps) == (518, 176)
    assert found.step_time == pytest.approx(2.29672 / 88)
    assert found.survivals == pytest.approx((0.805, 0.632, 0.483))


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
