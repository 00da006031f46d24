"""`fairdraft replay` and `fairdraft reconcile` from files, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fairdraft.cli.replay import LOOKUPS
from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.proposers import known_methods
from fairdraft.telemetry.environment import benchmark_environment

Run = Callable[..., tuple[int, str, str]]


ANOTHER = {"cpu": "another", "cores": 64, "threads": 64, "gpu": None}


def write_profile(path: Path, environment: Mapping[str, Any]) -> str:
    step = CostSurface(Point(b, n, 512, (1 + 0.02 * b * n,)) for b in (1, 2) for n in (1, 5))
    drafts = CostSurface(Point(b, n, 512, (1e-5,)) for b in (1, 2) for n in (1, 4))
    found = Profile("toy", "float32", environment, step, step, {"ngram": drafts})
    path.write_text(json.dumps(found.to_json()))
    return str(path)


@pytest.fixture
def profile(tmp_path: Path) -> str:
    """A profile of this machine."""
    return write_profile(tmp_path / "profile.json", benchmark_environment())


@pytest.fixture
def profile_of_another(tmp_path: Path) -> str:
    """A profile of another machine."""
    return write_profile(tmp_path / "another.json", ANOTHER)


def write_trace(path: Path, **changes: Any) -> str:
    """Three texts of twenty rounds; `changes` go to every round."""
    lines = []
    for name in ("a", "b", "c"):
        for round_number in range(20):
            entry = {
                "request_id": name,
                "num_computed_tokens": 10 + 4 * round_number,
                "num_new_tokens": 5,
                "draft_token_ids": [1, 2, 3, 4],
                "num_accepted": 3,
            } | changes
            lines.append(json.dumps({"step": round_number, "times": {}, "requests": [entry]}))
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return write_trace(tmp_path / "code.trace")


def test_policies_are_compared_on_a_trace(fairdraft: Run, trace: str, profile: str) -> None:
    code, out, err = fairdraft(
        "replay", trace, "--method", "ngram", "--profile", profile, "--policy", "0,1,4,auto,oracle"
    )
    assert (code, err) == (0, "")
    for word in ("k = 0", "k = 4", "auto", "oracle", "1.000"):
        assert word in out


@pytest.mark.parametrize("policy", [[], ["--policy", "auto,oracle"]])
def test_a_trace_in_which_nothing_was_drafted(
    fairdraft: Run, tmp_path: Path, profile: str, policy: list[str]
) -> None:
    """No policy makes anything of it, and looking costs next to nothing."""
    quiet = write_trace(tmp_path / "quiet.trace", draft_token_ids=[], num_accepted=0)
    code, out, err = fairdraft("replay", quiet, "--method", "ngram", "--profile", profile, *policy)
    assert (code, err) == (0, "")
    rows = {
        words[0]: words[1:] for words in map(str.split, out.replace("│", " ").splitlines()) if words
    }
    assert [float(rows[name][1]) for name in ("auto", "oracle")] == pytest.approx([1, 1], abs=0.002)
    code, out, err = fairdraft(
        "replay", quiet, "--method", "ngram", "--profile", profile, "--policy", "1"
    )
    assert (code, out) == (2, "")
    assert "the trace drafted 0 tokens at most" in err


def test_the_price_of_another_machine_is_refused_unless_forced(
    fairdraft: Run, trace: str, profile_of_another: str
) -> None:
    args = ["replay", trace, "--method", "ngram", "--profile", profile_of_another, "--policy", "1"]
    code, out, err = fairdraft(*args)
    assert (code, out) == (2, "")
    assert "cpu is 'another'" in err
    assert "pass --force" in err
    assert fairdraft(*args, "--force")[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_accepted": 5}, "num_accepted is 5, but must be a number from 0 to 4"),
        ({"num_accepted": -1}, "num_accepted is -1"),
        ({"num_accepted": "3"}, "num_accepted is '3'"),
        ({"num_new_tokens": None}, "num_new_tokens is None"),
        ({"num_computed_tokens": 10**30}, "num_computed_tokens is 1000"),
        ({"draft_token_ids": 4}, "is no step of a trace"),
    ],
)
def test_a_damaged_trace_is_told(
    fairdraft: Run, tmp_path: Path, profile: str, changes: dict[str, Any], message: str
) -> None:
    damaged = write_trace(tmp_path / "damaged.trace", **changes)
    code, out, err = fairdraft("replay", damaged, "--method", "ngram", "--profile", profile)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize("line", ["[" * 100_000, "{}", "[]", "3", '{"requests": [7]}'])
def test_a_line_that_is_no_step_is_told(
    fairdraft: Run, tmp_path: Path, profile: str, line: str
) -> None:
    path = tmp_path / "bad.trace"
    path.write_text(line)
    code, out, err = fairdraft("replay", str(path), "--method", "ngram", "--profile", profile)
    assert (code, out) == (2, "")
    assert "line 1 of" in err


def test_who_looks_up_is_known_without_the_engine() -> None:
    """What `replay` takes for lookups is what the methods' own classes say."""
    own = {
        name: point.load().is_lookup
        for name, point in known_methods().items()
        if point.module.startswith("fairdraft.")
    }
    assert sorted(name for name, is_lookup in own.items() if is_lookup) == list(LOOKUPS)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--concurrency", "0"], "concurrency is 0"),
        (["--policy", "9" * 5000], "--policy has"),
        (["--policy", "\u00b2"], "--policy has"),
        (["--method", "nobody"], "method 'nobody' is unknown"),
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
    fairdraft: Run, tmp_path: Path, profile_of_another: str
) -> None:
    profile = profile_of_another
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
    assert f"cpu is 'another', and in '{path}' it is 'mine'" in err
    code, out, err = fairdraft("reconcile", str(path), "--profile", profile, "--force")
    assert (code, err) == (0, "")
    assert "ngram" in " ".join(out.split())
    assert "k=4" in out
