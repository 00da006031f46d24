"""A case says what two runs show, or what one alone does, window by window."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fairdraft.economics.planning.case import MOST_WINDOWS, judge, survivals, tokens_a_step
from fairdraft.economics.planning.case_record import case_record
from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read
from fairdraft.peers.windows import join
from fairdraft.stats import wilson

CASES = Path(__file__).parents[2] / "peers" / "cases"
ON, OFF = read(CASES / "ngram_on.log"), read(CASES / "ngram_off.log")


def test_two_runs() -> None:
    case = judge(ON, OFF)
    assert case.found is not None
    assert len(case.verdict) == 1 + len(case.found.named)
    assert case.verdict[0].startswith("Whether it pays is open")
    assert case.verdict[1].startswith("Likely cause (")
    assert case.verdict[2].startswith("Also likely (")
    assert len(case.advice) == len(case.found.named)
    assert "rounds are worked out, not counted" in case.notes
    assert case.tokens.value == case.found.length
    assert case.tokens.low < case.tokens.value < case.tokens.high


def test_one_run_alone() -> None:
    case = judge(ON, None)
    assert case.found is None
    (verdict,) = case.verdict
    assert "1.16 tokens in a step of 406.96 ms" in verdict
    assert "more than 350.95 ms at this load" in verdict  # 406.96 / 1.1596
    assert "--baseline" in case.advice[0]
    assert all(each.needed is None for each in case.windows)
    untimed = judge(Reading("x", 10, 20, 10, (7, 3)), None)
    assert "it pays if a step takes less than that many plain ones" in untimed.verdict[0]
    with pytest.raises(ReadingError, match="drafted nothing"):
        judge(OFF, None)


def test_windows_beside_break_even() -> None:
    """Step times of the log's windows over 150.2 ms: the first two are full of prompts."""
    windows = judge(ON, OFF).windows
    assert [each.rounds for each in windows] == pytest.approx([129, 496, 2901])
    needed = [each.needed for each in windows if each.needed is not None]
    assert [each.value for each in needed] == pytest.approx([8.95, 5.56, 1.416], rel=2e-3)
    assert all(each.low < each.value < each.high for each in needed)
    assert [each.tokens.value for each in windows] == pytest.approx([1.06, 1.096, 1.185], rel=2e-3)


def test_a_long_log_has_a_few_windows_and_one_window_has_none() -> None:
    long = join(list(ON.windows) * 41, "long")
    windows = judge(long, OFF).windows
    assert len(windows) <= MOST_WINDOWS
    assert sum(each.rounds for each in windows) == pytest.approx(long.rounds)
    assert judge(replace(ON, windows=ON.windows[:1]), OFF).windows == []


def test_survivals_have_wider_intervals_than_counts_alone() -> None:
    """Four rounds of a text count as one."""
    reading = Reading("x", 400, 800, 400, (280, 120))
    first, second = survivals(reading)
    assert (first.value, second.value) == pytest.approx((0.7, 0.3))
    assert (first.low, first.high) == pytest.approx(wilson(70, 100))
    assert (second.low, second.high) == pytest.approx(wilson(30, 100))
    own = replace(reading, drafted_per_position=(400, 200))
    assert survivals(own)[1].value == pytest.approx(0.6)
    assert survivals(Reading("x", 1, 4, 2)) == []


def test_tokens_a_step_of_a_run_without_drafts() -> None:
    found = tokens_a_step(OFF)
    assert (found.value, found.low, found.high) == (1, 1, 1)


@pytest.mark.parametrize("off", [OFF, None])
def test_a_record_is_json_and_says_the_same(off: Reading | None) -> None:
    case = judge(ON, off)
    found = json.loads(json.dumps(case_record(case), allow_nan=False))
    assert found["kind"] == "fairdraft diagnosis"
    assert found["verdict"] == case.verdict
    assert found["on"]["accepted"] == 6181
    assert found["on"]["step_time"] == pytest.approx(0.407, rel=1e-3)
    assert "windows" not in found["on"]
    assert len(found["windows"]) == len(found["survivals"]) == 3
    if case.found is None:
        assert (found["off"], found["diagnosis"]) == (None, None)
    else:
        shares = [each["share"]["value"] for each in found["diagnosis"]["findings"]]
        assert sum(shares) == pytest.approx(1, abs=0.2)  # small ones are not listed
        assert found["diagnosis"]["named"] == [each.name for each in case.found.named]
