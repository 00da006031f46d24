"""The table of whole runs on a made-up machine: what is predicted where the truth is known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from benchmarks.suites import whole_runs
from benchmarks.suites.whole_runs_report import (
    OFF,
    TOKENS,
    cell_name,
    cells,
    learned,
    merged,
    of_these_minutes,
    predicted,
    rate,
    table,
)
from fairdraft.economics.planning.rounds import RoundLaw, round_laws
from fairdraft.telemetry import SpecCounters
from tests.conftest import tiny_tokenizer
from tests.economics.planning.conftest import METHOD, machine

LENGTHS = [50, 400, 120, 800, 90, 300, 620, 200, 140, 500]


def counters(stood: int, rounds: int) -> dict[str, Any]:
    """Of a text whose rounds all drafted four tokens, of which so many stood."""
    found = SpecCounters()
    for _ in range(rounds):
        found.record(4, stood, stood + 1)
    return asdict(found)


def test_every_text_takes_the_steps_that_it_took() -> None:
    texts = [counters(0, 60), counters(4, 12), asdict(SpecCounters())]
    texts[2] |= {"num_steps": 60, "num_emitted_tokens": 60}  # nothing was found in it
    acceptance = learned(texts)
    assert acceptance.draw(4).tokens(4)[0] == pytest.approx(180 / 132)


def test_parts_of_a_profile_are_put_together() -> None:
    part = machine().to_json()
    whole = merged([part, part])
    assert {len(p.samples) for p in whole.step.points} == {6}
    assert whole.prefill is not None
    assert {len(p.samples) for p in whole.prefill.points} == {2}
    assert whole.step.seconds(8, 3, 300) == pytest.approx(machine().step.seconds(8, 3, 300))


def test_a_machine_that_was_slow_is_told_apart_from_a_wrong_prediction() -> None:
    """Twice as slow in a cell's minutes: the profile is off by half, and right as it was then."""
    profile = machine()
    slow = of_these_minutes(profile, _twice(profile.to_json()))
    plain, slower = (
        rate(predicted(each, OFF, 0, 4, LENGTHS, [RoundLaw.plain()])) for each in (profile, slow)
    )
    assert slower == pytest.approx(plain / 2)
    raw = {
        "profile-0": profile.to_json(),
        cell_name((OFF, 0, 4)): {
            "prompt_tokens": LENGTHS,
            "seconds": 100.0,
            "tokens": 100 * slower,
            "probe": _twice(profile.to_json()),
            "inter_token": [0.1],
        },
        f"learned-{METHOD}": {"counters": [counters(2, 20)]},
        cell_name((METHOD, 4, 4)): {
            "prompt_tokens": LENGTHS,
            "seconds": 100.0,
            "tokens": 100
            * rate(
                predicted(profile, METHOD, 4, 4, LENGTHS, round_laws(learned([counters(2, 20)]), 4))
            ),
            "probe": profile.to_json(),
            "counters": [counters(3, 16)],
            "inter_token": [0.1],
        },
    }
    off, on = table(raw)
    assert off["error"] == pytest.approx(1)
    assert off["error_then"] == pytest.approx(0)
    assert on["error"] == pytest.approx(0)
    assert on["error_own_acceptance"] > 0.05
    assert on["predicted_speedup"] > 1


def test_halves_share_no_question_and_cells_are_all_there() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    halves = [whole_runs.prompts(tokenizer, half, 3) for half in whole_runs.HALVES]
    assert [len(half) for half in halves] == [9, 9]
    ends = [{tuple(text[-80:]) for text in half} for half in halves]
    assert not ends[0] & ends[1]
    names = list(whole_runs.parts(3))
    assert {cell_name(cell) for cell in cells()} < set(names)
    assert len(cells()) == 21
    assert TOKENS > 1


def test_it_goes_on_where_it_stopped(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def parts(each: int) -> dict[str, Any]:
        def compute(name: str) -> dict[str, Any]:
            made.append(name)
            return {"part": name}

        return {name: lambda n=name: compute(n) for name in ("a", "b", "c")}

    monkeypatch.setattr(whole_runs, "parts", parts)
    assert not whole_runs.measure(tmp_path, 3, 0.0, ["a"])
    assert not whole_runs.measure(tmp_path, 3, 0.0, [])  # one at least, each time
    assert whole_runs.measure(tmp_path, 3, 9.0, [])
    assert made == ["a", "b", "c"]


def _twice(profile: dict[str, Any]) -> dict[str, Any]:
    """Return a profile's JSON with every time doubled."""
    for name in ("step", "prefill"):
        for point in profile[name]:
            point["samples"] = np.multiply(point["samples"], 2).tolist()
    return profile
