"""A profile says what was measured, exactly where costs are straight, and refuses what it lacks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.errors import ConfigError

PLAIN, GROWTH, C, FIXED = 0.02, 0.07, 0.03, 0.11
SMALLEST, ROW = 0.016, 0.004  # a run: SMALLEST + ROW · rows
HERE = {"cpu": "a chip", "cores": 2, "threads": 2, "gpu": None, "date": "today"}


def surface(seconds: Callable[[int, int], float], rows: tuple[int, ...]) -> CostSurface:
    grid = itertools.product((1, 2, 4), rows, (128, 512))
    return CostSurface(Point(b, n, c, (seconds(b, n) * (1 + c / 1024),)) for b, n, c in grid)


@pytest.fixture
def profile() -> Profile:
    """Costs that are straight in everything."""
    return Profile(
        "tiny",
        "float32",
        HERE,
        surface(lambda b, n: PLAIN * (1 + GROWTH * (n - 1)), (1, 2, 5)),
        surface(lambda b, n: SMALLEST + ROW * b * n, (1, 2, 5)),
        {"head": surface(lambda b, k: PLAIN * (FIXED + C * k), (1, 4))},
        CostSurface([Point(1, 64, 64, (0.3,))]),
        weight_bytes=1000,
        parameters=500,
        kv_bytes=8,
    )


def test_what_is_read_off_straight_costs_is_exact(profile: Profile) -> None:
    for context in (128, 300, 512):
        assert profile.draft_cost("head", 2, context) == pytest.approx(C)
        assert profile.verify_growth(2, context) == pytest.approx(GROWTH)
        # SMALLEST + ROW · x = 2 (SMALLEST + ROW)
        assert profile.knee(context) == pytest.approx(SMALLEST / ROW + 2)
    assert profile.bandwidth == pytest.approx(1000 / ((SMALLEST + ROW) * 1.125))


def test_costs_are_step_and_drafting(profile: Profile) -> None:
    k = np.arange(5)
    expected = 1 + GROWTH * k + (FIXED + C * k) * (k > 0)
    np.testing.assert_allclose(profile.costs("head", 4, 2, 128, extrapolate=True), expected)
    assert profile.seconds(None, 3, 2, 128) == pytest.approx(PLAIN * (1 + 3 * GROWTH) * 1.125)


def test_longer_drafts_than_were_measured_are_asked_for(profile: Profile) -> None:
    with pytest.raises(ConfigError, match="rows = 6 was not measured"):
        profile.seconds("head", 5, 2, 128)


def test_a_knee_out_of_reach() -> None:
    flat = surface(lambda b, n: 0.01, (1, 2, 5))
    assert Profile("tiny", "float32", HERE, flat, flat).knee(128) is None


def test_one_draft_length_and_no_verification() -> None:
    one = Profile(
        "tiny",
        "float32",
        HERE,
        surface(lambda b, n: PLAIN, (1,)),
        surface(lambda b, n: PLAIN, (1,)),
        {"block": surface(lambda b, k: PLAIN * 0.2, (4,))},
    )
    assert one.draft_cost("block", 1, 128) == pytest.approx(0.05)
    assert one.verify_growth(1, 128) == 0


def test_round_trip(profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(profile.to_json()))
    again = Profile.load(path)
    assert again.to_json() == profile.to_json()
    assert again.environment == HERE
    for at in itertools.product((1, 3), (0, 2, 4), (128, 200)):
        b, k, c = at
        assert again.seconds("head", k, b, c) == profile.seconds("head", k, b, c)
    assert again.prefill is not None
    assert again.prefill.seconds(1, 64, 64) == 0.3


def test_the_roofline_takes_the_models_own_sizes(profile: Profile) -> None:
    line = profile.roofline(bandwidth=1e5, flops=1e9)
    assert line.seconds(1, 1, 0) == pytest.approx(1000 / 1e5)


def test_another_machine_is_refused(profile: Profile) -> None:
    profile.require_hardware(HERE | {"date": "tomorrow"})
    for name, value in (("cpu", "another"), ("cores", 4), ("threads", 1), ("gpu", "H100")):
        with pytest.raises(ConfigError, match=f"where {name} is .* here it is {value!r}.*--force"):
            profile.require_hardware(HERE | {name: value})


def test_a_method_that_was_not_profiled(profile: Profile) -> None:
    with pytest.raises(
        ConfigError, match=r"'ngram' is not in the profile \(drafters there: head\)"
    ):
        profile.drafter("ngram")


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "benchmark"}', "\udce9"])
def test_a_file_that_is_no_profile(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"x\.json' is no profile: make one with"):
        Profile.load(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Profile.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": None}, "is damaged"),
        ({"step": []}, "no measured points"),
        ({"run": [{"requests": 1}]}, "broken point"),
        ({"drafters": []}, "is damaged"),
        ({"weight_bytes": "many"}, "is damaged"),
        ({"environment": 3}, "is damaged"),
        ({"run": [{"requests": 10**30, "rows": 1, "context": 1, "samples": [1.0]}]}, "up to 1e"),
    ],
)
def test_a_broken_profile(
    change: dict[str, object], message: str, profile: Profile, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(profile.to_json() | change))
    with pytest.raises(ConfigError, match=message):
        Profile.load(path)


@pytest.mark.parametrize("name", ["model", "environment", "run", "kv_bytes"])
def test_something_is_missing(name: str, profile: Profile) -> None:
    report = profile.to_json()
    del report[name]
    with pytest.raises(ConfigError, match=f"lacks '{name}': profile again"):
        Profile.of(report)
