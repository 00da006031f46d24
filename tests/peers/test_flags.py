"""Lines to paste: they parse, and cover every number of requests."""

from __future__ import annotations

import itertools
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.plan import Plan
from fairdraft.economics.planning.planner import plan
from fairdraft.errors import ConfigError
from fairdraft.peers.drafting import batch_schedule, speculative_config
from fairdraft.peers.flags import ENGINES, paste_line


def planned(method: str, alpha: float, loads: tuple[int, ...] = (1, 8, 32)) -> Plan:
    """Growth with the load: fewer drafts the more requests."""
    points = [Point(n, 1 + k, 0, (1 + 0.015 * n * k,)) for n in loads for k in range(6)]
    costs = StepCosts(CostSurface(points), {method: None})
    return plan(costs, Acceptance.of_alpha(alpha))


@given(st.dictionaries(st.integers(1, 2000), st.integers(0, 8), min_size=1, max_size=8))
def test_every_batch_size_has_one_k(choices: dict[int, int]) -> None:
    ranges = batch_schedule(choices)
    assert ranges[0][0] == 1
    assert ranges[-1][1] == max(choices)
    for (_, last, k), (first, _, following) in itertools.pairwise(ranges):
        assert first == last + 1
        assert k != following
    for load, k in choices.items():
        assert [r[2] for r in ranges if r[0] <= load <= r[1]] == [k]
    json.loads(json.dumps(ranges))


def test_boundaries_are_halfway() -> None:
    assert batch_schedule({1: 3, 8: 3, 32: 1, 64: 0}) == [[1, 20, 3], [21, 48, 1], [49, 64, 0]]
    with pytest.raises(ConfigError, match="no load"):
        batch_schedule({})


def test_vllm() -> None:
    found = planned("eagle3", 0.7)
    schedule = found.schedule("eagle3")
    assert len(set(schedule.values())) > 1
    words = shlex.split(paste_line("vllm", found.drafting("eagle3", "it's/here")))
    assert words[0] == "--speculative-config"
    config = json.loads(words[1])
    assert config["method"] == "eagle3"
    assert config["model"] == "it's/here"
    assert config["num_speculative_tokens"] == max(schedule.values())
    assert config["num_speculative_tokens_per_batch_size"] == batch_schedule(schedule)
    one = json.loads(
        shlex.split(paste_line("vllm", planned("ngram", 0.7, (1,)).drafting("ngram")))[1]
    )
    assert set(one) == {"method", "num_speculative_tokens"}


def test_the_other_engines() -> None:
    found = planned("eagle3", 0.7)
    k = found.static_k("eagle3")
    assert k
    assert paste_line("sglang", found.drafting("eagle3", "head")) == (
        f"--speculative-algorithm EAGLE3 --speculative-draft-model-path head "
        f"--speculative-num-steps {k} --speculative-eagle-topk 1 "
        f"--speculative-num-draft-tokens {k + 1}"
    )
    assert paste_line("llama.cpp", found.drafting("eagle3", "head")) == (
        f"--spec-type draft-eagle3 --spec-draft-model head --spec-draft-n-max {k} "
        "--spec-draft-n-min 0"
    )
    _, _, own = paste_line("fairdraft", found.drafting("eagle3", "head")).partition("=")
    assert json.loads(own) == speculative_config(found.drafting("eagle3", "head"))
    lookup = planned("ngram", 0.7)
    assert f"--spec-ngram-simple-size-m {k}" in paste_line("llama.cpp", lookup.drafting("ngram"))
    assert "--speculative-algorithm NGRAM" in paste_line("sglang", lookup.drafting("ngram"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_line_that_lacks_its_checkpoint_is_no_line(engine: str) -> None:
    line = paste_line(engine, planned("eagle3", 0.7).drafting("eagle3"))
    assert line == "(eagle3 needs a checkpoint: name it with --drafter FOLDER or hub id)"


@pytest.mark.parametrize("engine", ENGINES)
def test_off_is_said(engine: str) -> None:
    assert paste_line(engine, planned("ngram", 0.0).drafting("ngram")).startswith("(off")


def test_what_an_engine_lacks() -> None:
    found = planned("hybrid", 0.7)
    for engine in ("vllm", "sglang", "llama.cpp"):
        assert "has no method 'hybrid'" in paste_line(engine, found.drafting("hybrid"))
    with pytest.raises(ConfigError, match="engine is 'tgi'"):
        paste_line("tgi", found.drafting("hybrid"))


def test_our_own_line_is_one_that_fairdraft_takes() -> None:
    from fairdraft.config import SpeculativeConfig

    found = planned("ngram", 0.8)
    _, _, own = paste_line("fairdraft", found.drafting("ngram")).partition("=")
    assert "num_speculative_tokens_per_batch_size" in own
    config = SpeculativeConfig.of(json.loads(own))
    assert config.method == "ngram"
    assert config.num_speculative_tokens == max(found.schedule("ngram").values())
