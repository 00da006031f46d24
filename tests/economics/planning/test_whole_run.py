"""A benchmark's run, prompts included, predicted beside a measurement whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.reconcile import reconcile_run
from fairdraft.economics.planning.whole_run import WholeRuns, whole_runs
from tests.economics.planning.conftest import DRAFT, METHOD, machine

ALPHA, K, OUTPUT, N = 0.7, 4, 48, 8
PROMPTS = (50, 90, 140, 220, 320, 450, 620, 800)
PROFILE = machine()


def report() -> dict[str, Any]:
    """A run of eight mixed prompts at once that went as the simulation says it goes."""
    runs = WholeRuns(StepCosts.of_profile(PROFILE), PROMPTS, OUTPUT, N)
    acceptance = Acceptance.of_alpha(ALPHA)
    off, on = runs.seconds(None, 0, None), runs.seconds(METHOD, K, acceptance)
    length = float(acceptance.draw(K).tokens(K)[0])
    rounds = round(N * (OUTPUT - 1) / length)
    accepted = round(rounds * (length - 1))
    steps = round(rounds / N * 1.15)  # of the engine: requests end at different times
    return {
        "settings": {"max_tokens": OUTPUT},
        "prompt_tokens": {"toy": list(PROMPTS)},
        "cells": [
            {
                "dataset": "toy",
                "method": "none",
                "k": 0,
                "concurrency": N,
                "times": {"total": off, "num_steps": OUTPUT + 4},
            },
            {
                "dataset": "toy",
                "method": METHOD,
                "k": K,
                "concurrency": N,
                "counters": {
                    "num_steps": rounds,
                    "num_drafts": rounds,
                    "num_draft_tokens": K * rounds,
                    "num_accepted_tokens": accepted,
                    "num_rejections": round(accepted * (1 - ALPHA) / ALPHA),
                    "drafted_per_pos": [rounds] * K,
                },
                "times": {"total": on, "propose": DRAFT * rounds, "num_steps": steps},
                "speedup": off / on,
                "tokens_per_second": N * OUTPUT / on,
            },
        ],
    }


def test_the_whole_run_is_predicted_and_decoding_alone_promises_too_much() -> None:
    told = report()
    found = reconcile_run(told, "x", PROFILE)
    (one,) = found.cells
    assert found.notes == ()
    assert one.error == pytest.approx(0, abs=0.02)
    assert one.predicted_tokens_per_second == pytest.approx(one.tokens_per_second, rel=0.02)
    product = float(np.prod(list(one.terms.values())))
    assert product == pytest.approx(one.speedup / one.predicted_speedup)

    del told["prompt_tokens"]
    without = reconcile_run(told, "x", PROFILE)
    assert without.cells[0].error > 0.08
    assert without.cells[0].predicted_tokens_per_second is None
    assert "does not say how long its prompts are" in without.notes[0]


@pytest.mark.parametrize(
    "lengths", [None, [], "toy", {"toy": "x"}, {"toy": [0]}, {"toy": [True]}, {"other": [5]}]
)
def test_lengths_that_are_not_told(lengths: object) -> None:
    told = report() | {"prompt_tokens": lengths}
    assert whole_runs(told, told["cells"][1], PROFILE) is None


def test_one_seed_one_answer() -> None:
    runs = WholeRuns(StepCosts.of_profile(PROFILE), PROMPTS, OUTPUT, 4)
    acceptance = Acceptance.of_alpha(ALPHA)
    assert runs.seconds(METHOD, K, acceptance) == runs.seconds(METHOD, K, acceptance)
    assert runs.tokens == len(PROMPTS) * OUTPUT
