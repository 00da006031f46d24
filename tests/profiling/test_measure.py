"""What is measured, not how long it took: that is the machine's affair."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto

from fairdraft.config import SpeculativeConfig
from fairdraft.economics.costs.profile import Profile
from fairdraft.engine.engine import Engine
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models import ModelRunner
from fairdraft.profiling import (
    SHAPES,
    ProfileGrid,
    Profiler,
    build_shape,
    profile_model,
)
from tests.conftest import TINY, tiny_tokenizer
from tests.heads.conftest import write_head

__all__ = ["write_head"]

GRID = ProfileGrid((1, 3), (1, 3), (16, 40), rounds=3)


def settings(profile: Profile, rows: tuple[int, ...]) -> set[tuple[int, int, int]]:
    return set(itertools.product(GRID.requests, rows, GRID.contexts))


def test_every_setting_is_measured(
    tiny: Callable[[str], Path], write_head: Callable[..., Path], tmp_path: Path
) -> None:
    """The target, a lookup, and a head that drafts two tokens at most."""
    model = Auto.from_pretrained(tiny("llama"), dtype=torch.float32)
    methods = [
        SpeculativeConfig("ngram", 3),
        SpeculativeConfig("eagle3", 2, model=str(write_head())),
    ]
    told: list[str] = []
    profile = profile_model(
        ModelRunner(model, tokenizer=tiny_tokenizer()),
        GRID,
        methods,
        tiny_tokenizer(),
        "tiny",
        {"cpu": "this one"},
        told.append,
    )
    assert {name.split(",")[0].split(" of")[0] for name in told} == {
        "target",
        "prefill",
        "ngram",
        "eagle3",
    }
    for surface, rows in (
        (profile.step, (1, 2, 4)),
        (profile.run, (1, 2, 4)),
        (profile.drafter("ngram"), (1, 3)),
        (profile.drafter("eagle3"), (1,)),
    ):
        assert {(p.requests, p.rows, p.context) for p in surface.points} == settings(profile, rows)
    # A round of k = 0 begins and another ends each measurement's row of steps.
    assert {len(p.samples) for p in profile.step.points if p.rows > 1} == {GRID.rounds}
    assert {len(p.samples) for p in profile.drafter("ngram").points} == {GRID.rounds}
    for whole, run in zip(profile.step.points, profile.run.points, strict=True):
        assert all(a > b for a, b in zip(whole.samples, run.samples, strict=True))
    assert profile.prefill is not None
    assert profile.prefill.rows == [16, 64, 128]  # of a model for 256 tokens
    assert profile.dtype == "float32"
    assert profile.weight_bytes > profile.parameters > 0
    assert profile.kv_bytes == 4 * 2 * 2 * 32 * 4

    path = tmp_path / "p.json"
    path.write_text(json.dumps(profile.to_json()))
    again = Profile.load(path)
    assert again.to_json() == profile.to_json()
    assert (again.model, again.environment) == ("tiny", {"cpu": "this one"})


def test_a_round_at_a_time(shape: str) -> None:
    """Two warm up; prompts are read where lengths are given."""
    runner = ModelRunner(build_shape(shape))
    profiler = Profiler(runner, ProfileGrid((1,), (2,), (16,), prefill=()))
    for counted in (0, 0, 1, 2):
        profiler.round()
        if not counted:
            with pytest.raises(ConfigError, match="no measured points"):
                profiler.profile()
            continue
        profile = profiler.profile()
        assert {len(p.samples) for p in profile.step.points if p.rows > 1} == {counted}
        assert profile.prefill is None


def test_a_shape_is_random_and_of_its_shape(shape: str) -> None:
    model = build_shape(shape)
    assert model.dtype == torch.bfloat16
    assert model.config.num_hidden_layers == TINY["num_hidden_layers"]
    assert "llama-3-8b" in SHAPES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is neither a shape nor a config.json: the shapes are .*llama-3-8b"),
        ("{", "is no transformers config"),
        ("{}", "is no transformers config"),
        ('{"model_type": "nonsense"}', "is no transformers config"),
        ("[]", "is no transformers config"),
    ],
)
def test_no_shape(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        build_shape(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": ()}, "--requests is empty"),
        ({"ks": (0, 1)}, "--ks is 0, .*k = 0 is measured always"),
        ({"contexts": (-1,)}, "--contexts is -1"),
        ({"rounds": 2}, "--rounds is 2"),
    ],
)
def test_grids_that_cannot_be(changes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProfileGrid(**changes)  # type: ignore[arg-type]


def test_contexts_that_are_too_long(shape: str) -> None:
    runner = ModelRunner(build_shape(shape))
    with pytest.raises(ConfigError, match=r"context of 200 tokens, .* the model was made for 256"):
        profile_model(runner, ProfileGrid((1,), (1,), (16, 200)))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("nonsense", "'nonsense' is unknown"),
        ("off", "'off' cannot be timed"),
        ("hybrid", "'hybrid' cannot be timed"),
        ("auto", "'auto' cannot be timed"),
    ],
)
def test_methods_are_refused_before_anything_is_timed(
    method: str, message: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "step", lambda engine: pytest.fail("it runs"))
    with pytest.raises(ConfigError, match=message):
        profile_model(ModelRunner(build_shape(shape)), GRID, [SpeculativeConfig(method, 2)])
