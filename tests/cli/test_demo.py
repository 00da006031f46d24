"""The demo's words and its arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fairdraft.bench.measurement import Measurement
from fairdraft.cli.demo import Comparison, Side, advice, identity
from fairdraft.economics import expected_tokens_per_verify
from fairdraft.economics.planning.forecast import Forecast
from fairdraft.telemetry import SpecCounters, StepTimes

Run = Callable[..., tuple[int, str, str]]


def test_demo_runs_without_a_terminal(fairdraft: Run, tiny: str) -> None:
    options = ("--max-tokens", "24", "--rounds", "2", "--dtype", "float32")
    code, out, err = fairdraft("demo", "--model", tiny, *options)
    assert code == 0, err
    assert out.count("token ids are identical") == 2
    assert "predicted speedup" in out
    assert out.rpartition("\n\n")[2].startswith("Leave it ")
    assert "\x1b" not in out


def test_forecast_of_drafts_of_several_lengths() -> None:
    counters = SpecCounters()
    for drafted, accepted in ((4, 4), (4, 1), (2, 2), (0, 0)):
        counters.record(drafted, accepted, accepted + 1)
    off = StepTimes(run=4.0, num_steps=4)
    on = StepTimes(run=5.0, verify=1.0, propose=0.5, num_steps=4)
    forecast = Forecast.of(off, on, counters)
    e4, e2 = (expected_tokens_per_verify(7 / 8, k) for k in (4, 2))
    assert forecast.tokens_per_round == pytest.approx((2 * e4 + e2) / 3)
    assert forecast.tokens_per_step == pytest.approx(1 + 0.75 * (forecast.tokens_per_round - 1))
    assert forecast.draft_cost == pytest.approx(0.05)
    assert forecast.verify_growth == pytest.approx(1.5)
    assert forecast.step_time == pytest.approx(1.5 + 0.5 / 4)
    assert forecast.speedup == pytest.approx(forecast.tokens_per_step / 1.625)


def test_forecast_without_drafts_is_the_price_alone() -> None:
    counters = SpecCounters()
    counters.record(0, 0, 1)
    forecast = Forecast.of(
        StepTimes(run=1.0, num_steps=1), StepTimes(run=1.25, num_steps=1), counters
    )
    assert forecast.speedup == pytest.approx(0.8)


def test_identity_names_the_place_where_outputs_part() -> None:
    assert identity([1, 2], [1, 2]) == "The 2 token ids are identical."
    assert "up to number 1 " in identity([1, 2], [1, 3])
    assert "up to number 1 " in identity([1], [1, 3])


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ([2.0, 1.9], [1.0, 0.9], "Leave it on: it pays for A (1.95×)"),
        ([2.0, 2.0], [0.5, 0.5], "Leave it on for A (2.00×) and off for B (0.50×)."),
        ([0.9, 1.1], [0.5, 0.5], "Leave it off"),
        ([0.9, 1.4], [1.0, 1.0], "Leave it on or off as you like"),  # rounds disagree
    ],
)
def test_advice_is_one_sentence(first: list[float], second: list[float], sentence: str) -> None:
    said = advice([comparison("A", first), comparison("B", second)])
    assert said.startswith(sentence)
    assert said.endswith(".")


def comparison(name: str, ratios: list[float]) -> Comparison:
    def side(speeds: list[float]) -> Side:
        return Side([], [], [Measurement(1.0, round(100 * speed)) for speed in speeds])

    return Comparison(name, side([1.0] * len(ratios)), side(ratios))
