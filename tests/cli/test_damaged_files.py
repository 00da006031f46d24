"""Damaged files: the verbs that read them say what is wrong and end with 2, never a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.telemetry.environment import machine

Run = Callable[..., tuple[int, str, str]]
ODD: list[Any] = [
    None, True, -1, 0, 0.5, 1e308, -1e308, float("nan"), float("inf"), 10**30, "", "x", "1",
    "\ud800", [], {}, [[]], [{}], {"a": 1}, "[red]", "\0",
]  # fmt: skip


def profile() -> dict[str, Any]:
    step = CostSurface(
        Point(n, rows, context, (0.02 + 0.0005 * n * rows,))
        for n in (1, 2)
        for rows in (1, 2, 3)
        for context in (64, 1024)
    )
    drafts = CostSurface(
        Point(n, k, context, (0.001 * k,)) for n in (1, 2) for k in (1, 2) for context in (64, 1024)
    )
    return Profile("toy", "float32", machine(), step, step, {"ngram": drafts}).to_json()


def cell(method: str, k: int) -> dict[str, Any]:
    return {
        "dataset": "text",
        "concurrency": 1,
        "method": method,
        "k": k,
        "tokens_per_second": 40.0,
        "speedup": 1.2,
        "counters": {
            "num_steps": 100,
            "num_drafts": 100 * (k > 0),
            "num_draft_tokens": 100 * k,
            "num_accepted_tokens": 50 * k,
            "num_rejections": 60 * (k > 0),
            "drafted_per_pos": [100] * k,
            "accepted_per_pos": [60, 40][:k],
        },
        "times": {
            "num_steps": 100, "total": 2.5, "run": 2.0, "propose": 0.1 * k, "schedule": 0.1,
            "verify": 0.1, "update": 0.1,
        },
    }  # fmt: skip


def bench() -> dict[str, Any]:
    return {"environment": machine(), "settings": {}, "cells": [cell("none", 0), cell("ngram", 2)]}


def served() -> dict[str, Any]:
    return {
        "output_throughput": 100.0,
        "mean_tpot_ms": 10.0,
        "max_concurrency": 1,
        "completed": 64,
        "total_output_tokens": 2000,
        "spec_decode_num_drafts": 1000,
        "spec_decode_draft_tokens": 2000,
        "spec_decode_accepted_tokens": 900,
        "spec_decode_per_position_acceptance_rates": [0.6, 0.3],
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON document."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, key))


def damaged(document: Any, data: st.DataObject) -> Any:
    """The document with one or two places replaced or left out."""
    found = {"all": copy.deepcopy(document)}
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([("all", *place) for place in places(found["all"])]))
        parent: Any = found
        for key in path[:-1]:
            parent = parent[key]
        if len(path) > 1 and data.draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
    return found["all"]


GOOD = {"profile": profile, "bench": bench, "served": served}
CALLS = {
    "plan of a profile": ("profile", ("plan", "--profile", "BAD", "--alpha", "ngram=0.7")),
    "plan with an acceptance": (
        "served",
        ("plan", "--profile", "profile", "--acceptance", "BAD", "--method", "ngram"),
    ),
    "plan of a sweep": ("bench", ("plan", "--sweep", "BAD")),
    "plan of a run among others": (
        "served",
        ("plan", "--sweep", "BAD", "--sweep", "bench", "--method", "ngram"),
    ),
    "reconcile a run": ("bench", ("reconcile", "BAD", "--profile", "profile")),
    "reconcile with a profile": ("profile", ("reconcile", "bench", "--profile", "BAD")),
    "diagnose": ("served", ("diagnose", "BAD", "--baseline", "bench#text/none/k=0/n=1")),
    "diagnose a baseline": ("bench", ("diagnose", "served", "--baseline", "BAD#text/none/k=0/n=1")),
}


@pytest.fixture
def call(fairdraft: Run, tmp_path: Path) -> Callable[[str, bytes], tuple[int, str, str]]:
    for name, make in GOOD.items():
        (tmp_path / name).write_text(json.dumps(make()))

    def run(name: str, content: bytes) -> tuple[int, str, str]:
        (tmp_path / "BAD").write_bytes(content)
        files = {each: str(tmp_path / each) for each in (*GOOD, "BAD")}
        words = []
        for word in CALLS[name][1]:
            file, hash_, label = word.partition("#")
            words.append(files.get(file, file) + hash_ + label)
        return fairdraft(*words)

    return run


@pytest.mark.parametrize("name", CALLS)
def test_undamaged_files_are_taken(name: str, call: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = call(name, json.dumps(GOOD[CALLS[name][0]]()).encode())
    assert (code, err) == (0, "")


@pytest.mark.parametrize("name", CALLS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_json(
    name: str, call: Callable[..., tuple[int, str, str]], data: st.DataObject
) -> None:
    document = damaged(GOOD[CALLS[name][0]](), data)
    code, _, err = call(name, json.dumps(document).encode("utf-8", "surrogatepass"))
    assert code in (0, 2)
    assert (code == 2) == err.startswith("error: "), err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" + b"9" * 5000 + b"]",
        b"\xff\xfe{}",
        b"\0",
        b"null",
        b"{}",
        b"[1, 2]",
        b'"text"',
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_such_file(
    name: str, content: bytes, call: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = call(name, content)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
