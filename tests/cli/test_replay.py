"""`fairdraft replay` and `fairdraft reconcile` from files, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def profile(tmp_path: Path) -> str:
    step = CostSurface(Point(b, n, 512, (1 + 0.02 * b * n,)) for b in (1, 2) for n in (1, 5))
    drafts = CostSurface(Point(b, n, 512, (1e-5,)) for b in (1, 2) for n in (1, 4))
    environment = {"cpu": "another", "cores": 64, "threads": 64, "gpu": None}
    found = Profile("toy", "float32", environment, step, step, {"ngram": drafts})
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(found.to_json()))
    return str(path)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    lines = []
    for name in ("a", "b", "c"):
        for round_number in range(20):
            entry = {
                "request_id": name,
                "num_computed_tokens": 10 + 4 * round_number,
                "num_new_tokens": 5,
                "draft_token_ids": [1, 2, 3, 4],
                "num_accepted": 3,
            }
            lines.append(json.dumps({"step": round_number, "times": {}, "requests": [entry]}))
    path = tmp_path / "code.trace"
    path.write_text("\n".join(lines))
    return str(path)


def test_policies_are_compared_on_a_trace(fairdraft: Run, trace: str, profile: str) -> None:
    code, out, err = fairdraft(
        "replay", trace, "--method", "ngram", "--profile", profile, "--policy", "0,1,4,auto,oracle"
    )
    assert (code, err) == (0, "")
    for word in ("k = 0", "k = 4", "auto", "oracle", "1.000"):
        assert word in out


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--policy", "8"], "the trace drafted 4 tokens at most"),
        (["--policy", "often"], "--policy has 'often'"),
        (["--concurrency", "9"], "3 texts, fewer than 9"),
        (["--method", "suffix"], "'suffix' is not in the profile"),
    ],
)
def test_what_a_trace_cannot_say(
    fairdraft: Run, trace: str, profile: str, extra: list[str], message: str
) -> None:
    args = ["replay", trace, "--method", "ngram", "--profile", profile, "--policy", "1"]
    code, out, err = fairdraft(*args, *extra)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err


def test_a_profile_of_other_hardware_is_refused_unless_forced(
    fairdraft: Run, tmp_path: Path, profile: str
) -> None:
    counters = {
        "num_steps": 100,
        "num_drafts": 100,
        "num_draft_tokens": 400,
        "num_accepted_tokens": 200,
        "num_rejections": 80,
        "drafted_per_pos": [100, 100, 100, 100],
    }
    shared = {"dataset": "toy", "concurrency": 1}
    off = {"total": 300.0, "propose": 0.0, "num_steps": 300}
    on = {"total": 110.0, "propose": 0.001, "num_steps": 100}
    run = {
        "environment": {"cpu": "mine", "cores": 2, "threads": 2, "gpu": None},
        "settings": {},
        "cells": [
            {**shared, "method": "none", "k": 0, "counters": {}, "times": off, "speedup": 1.0},
            {
                **shared,
                "method": "ngram",
                "k": 4,
                "counters": counters,
                "times": on,
                "speedup": 2.5,
            },
        ],
    }
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run))
    code, out, err = fairdraft("reconcile", str(path), "--profile", profile)
    assert (code, out) == (2, "")
    assert "cpu is 'another', and here it is 'mine'" in err
    code, out, err = fairdraft("reconcile", str(path), "--profile", profile, "--force")
    assert (code, err) == (0, "")
    assert "ngram" in " ".join(out.split())
    assert "k=4" in out
