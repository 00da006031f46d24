"""Prompts are priced by their rows, what lies before them, and who decodes beside them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.prompt_costs import Line, PromptCosts
from fairdraft.errors import ConfigError

ROW, SEEN, FIXED = 2e-3, 1e-6, 20e-3  # seconds: a row, a row and token before it, any step


def taken(rows: int, start: int) -> float:
    return FIXED + ROW * rows + SEEN * rows * (start + rows / 2)


def profile(late: bool = True) -> Profile:
    step = CostSurface(
        Point(n, rows, 128, (FIXED + ROW * n * rows,)) for n in (1, 4) for rows in range(1, 6)
    )
    chunks = [(rows, 0) for rows in (16, 128, 512)] + [(512, 512), (128, 512)] * late
    prefill = CostSurface(Point(1, rows, at, (taken(rows, at),)) for rows, at in chunks)
    reading = {"head": CostSurface(Point(1, rows, 0, (1e-4 * rows,)) for rows in (16, 512))}
    drafters = {"head": CostSurface([Point(1, 1, 128, (1e-3,))])}
    return Profile(
        "toy", "float32", {}, step, step, drafters, prefill, reading=reading if late else {}
    )


def test_chunks_cost_what_they_were_made_to_cost() -> None:
    costs = PromptCosts.of_profile(profile())
    assert costs.notes == ()
    assert costs.attention == pytest.approx(SEEN)
    for rows in (16, 128, 512):
        for start in (0, 300, 512):
            assert costs.step([(rows, start)]) == pytest.approx(taken(rows, start))
    # Two prompts in a step do not see each other.
    both = costs.step([(128, 0), (384, 0)])
    expected = FIXED + ROW * 512 + SEEN * (128 * 64 + 384 * 192)
    assert both == pytest.approx(expected)
    assert both < costs.step([(512, 0)])
    assert costs.read("head", 256) == pytest.approx(0.0256)
    assert costs.read(None, 256) == costs.read("ngram", 256) == 0


def test_rows_that_decode_run_with_the_chunk() -> None:
    """The weights are read once; what decoding takes beyond its rows is added."""
    costs = PromptCosts.of_profile(profile())
    alone, rows = costs.step([(128, 0)]), 5
    step = FIXED + ROW * rows
    beside = costs.step([(128, 0)], rows, step)
    assert alone < beside < alone + step
    assert beside == pytest.approx(alone + ROW * rows, rel=0.02)
    assert costs.step([(128, 0)], rows, step + 0.1) == pytest.approx(beside + 0.1)


def test_an_older_profile_says_what_it_lacks() -> None:
    """Its prompts have their own number as their context, and nobody's reading was timed."""
    older = profile(late=False).to_json()
    for record in older["prefill"]:
        record["context"] = record["rows"]
    del older["reading"]
    found = PromptCosts.of_profile(Profile.of(json.loads(json.dumps(older))))
    assert found.step([(128, 0)]) == pytest.approx(taken(128, 0))
    assert found.attention == 0
    late, reading = found.notes
    assert "begin late" in late
    assert "head reads a prompt" in reading


def test_a_profile_without_prompts_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no prompts in it"):
        PromptCosts.of_profile(replace(profile(), prefill=None))


def test_a_profile_is_read_again_as_it_was_written() -> None:
    found = profile()
    again = Profile.of(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    assert set(again.reading) == {"head"}


@pytest.mark.parametrize(
    ("rows", "seconds"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0), (8, 4.0)]
)
def test_a_line_goes_on_at_both_ends(rows: int, seconds: float) -> None:
    assert Line((2, 4), (1.0, 2.0)).at(rows) == pytest.approx(seconds)
    assert Line((2,), (1.0,)).at(1) == Line((2,), (1.0,)).at(2) == 1.0
