"""The live figures compute what the library computes, and say what they compute."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairdraft.draft import Draft
from fairdraft.economics.equations.acceptance import constant
from fairdraft.economics.equations.best_k import best_k
from fairdraft.economics.equations.cost import ceiling, linear_cost, speedups
from fairdraft.economics.equations.speedup import expected_tokens_per_verify
from fairdraft.verification.match import match
from scripts.markdown import ROOT

LIVE = ROOT / "docs" / "live"
LONGEST = 16
EDGES = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.5), (0.2, 0.5, 0.0), (0.5, 0.5, 0.0)]


def node(expression: str, **given: Any) -> Any:
    """What a JavaScript expression gives in Node; `given` are names it may use."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    names = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    code = (
        f"const explorer = require({str(LIVE / 'explorer.js')!r});\n"
        f"const rounds = require({str(LIVE / 'rounds.js')!r});\n"
        f"{names}console.log(JSON.stringify({expression}));"
    )
    done = subprocess.run([program, "-e", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def settings() -> list[tuple[float, float, float]]:
    """(α, c, λ): the corners, and 200 in between as the sliders give them."""
    draw = random.Random(18)
    return EDGES + [
        (draw.randint(0, 100) / 100, draw.randint(0, 100) / 100, draw.randint(0, 50) / 100)
        for _ in range(200)
    ]


def test_the_equations_are_the_librarys(settings: list[tuple[float, float, float]]) -> None:
    found = node(
        "settings.map(([a, c, g]) => ({rows: explorer.rows({alpha: a, c, growth: g}), "
        "best: explorer.optimalK(a, c, g), ceiling: explorer.ceiling(a)}))",
        settings=settings,
    )
    for (alpha, c, growth), each in zip(settings, found, strict=True):
        costs = linear_cost(c, LONGEST, growth)
        gains = speedups(constant(alpha, LONGEST), costs)
        assert [row[0] for row in each["rows"]] == list(range(LONGEST + 1))
        for k, tokens, cost, gain in each["rows"]:
            assert tokens == pytest.approx(expected_tokens_per_verify(alpha, k), rel=1e-12)
            assert cost == pytest.approx(costs[k], rel=1e-12)
            assert gain == pytest.approx(gains[k], rel=1e-12)
        assert each["best"] == int(best_k(gains)), (alpha, c, growth)
        top = each["ceiling"]  # JSON has no infinity
        assert alpha == 1 if top is None else top == pytest.approx(ceiling(alpha))


def test_contours_are_where_the_best_draft_reaches_the_level() -> None:
    alphas, levels = [i / 20 for i in range(21)], [1.0, 1.5, 2.0, 3.0]
    found = node(
        "alphas.map((a) => levels.map((l) => explorer.dearestCost(a, l)))",
        alphas=alphas,
        levels=levels,
    )
    for alpha, row in zip(alphas, found, strict=True):
        for level, cost in zip(levels, row, strict=True):
            if cost >= 0:
                gains = speedups(constant(alpha, LONGEST), linear_cost(cost, LONGEST))[1:]
                assert max(gains) == pytest.approx(level)
    assert [row[0] for row in found] == pytest.approx(alphas)  # break-even: α = c + λ


def test_it_says_what_to_do(settings: list[tuple[float, float, float]]) -> None:
    found = node(
        "settings.map(([a, c, g]) => explorer.describe({alpha: a, c, growth: g, k: 5}))",
        settings=settings,
    )
    for (alpha, c, growth), said in zip(settings, found, strict=True):
        gains = speedups(constant(alpha, LONGEST), linear_cost(c, LONGEST, growth))
        best = int(best_k(gains))
        assert said["off"] == (best == 0)
        if best == 0:
            assert said["headline"] == "Turn it off: no draft length makes this faster."
        else:
            assert said["headline"].startswith(f"Draft {best} token")
            assert f"{gains[best]:.2f} times" in said["headline"]
        words = " ".join(said["details"])
        assert ("is slower than no speculation" in words) == (gains[5] < 1 and best != 5)


def test_verification_is_the_librarys() -> None:
    draw = random.Random(7)
    cases = []
    for _ in range(300):
        k = draw.randint(0, 5)
        draft = [draw.randint(0, 2) for _ in range(k)]
        cases.append((draft, [draw.randint(0, 2) for _ in range(k + 1)]))
    for (draft, target), found in zip(
        cases, node("cases.map(([d, t]) => rounds.verify(d, t))", cases=cases), strict=True
    ):
        verdict = match(Draft(tuple(draft)), target.__getitem__)
        assert (found["accepted"], found["own"]) == (verdict.num_accepted, verdict.token)
        whole = verdict.num_accepted == len(draft)
        assert found["kind"] == (("bonus" if draft else "plain") if whole else "recovered")


def test_the_example_shows_every_case_and_counts_right() -> None:
    steps = node("rounds.steps(rounds.EXAMPLE)")
    verdicts = [step["verdict"] for step in steps if step["phase"] == "accept"]
    assert [each["kind"] for each in verdicts] == ["recovered", "bonus", "recovered", "plain"]
    assert [each["accepted"] for each in verdicts] == [2, 3, 0, 0]
    last = steps[-1]
    assert (last["runs"], last["tokens"]) == (4, sum(each["accepted"] + 1 for each in verdicts))
    text = "The capital of France is Paris. It is known for its museums."
    assert node("rounds.finalText(rounds.EXAMPLE)") == text
    assert "“Paris”, “.” accepted" in steps[2]["says"]
    assert "3 tokens from one run" in steps[2]["says"]


@pytest.mark.parametrize("path", sorted(LIVE.iterdir()), ids=lambda path: path.name)
def test_they_load_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text.replace("file://", "")
    assert "fetch(" not in text
