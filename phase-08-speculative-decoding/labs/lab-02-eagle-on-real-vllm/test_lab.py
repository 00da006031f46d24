"""What lab 02 must do: predict, read vLLM's counters, compare. The tests need no vLLM."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CAPTURED = HERE / "captured"
KINDS = ["humaneval", "mt_bench"]
METRICS = """\
# HELP vllm:spec_decode_num_drafts_total Number of spec decoding drafts.
vllm:spec_decode_num_drafts_total{engine="0"} 953.0
vllm:spec_decode_num_draft_tokens_total{engine="0"} 2859.0
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 767.0
# HELP vllm:spec_decode_num_accepted_tokens_per_pos_total Accepted tokens per draft position.
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="0"} 427.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"} 218.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="2"} 122.0
vllm:spec_decode_num_drafts_created{engine="0"} 1.7e+09
vllm:prompt_tokens_total{engine="0"} 1200.0
"""


def captured(name):
    return (CAPTURED / f"metrics-{name}.txt").read_text()


def captured_steps(name):
    return [tuple(step) for step in json.loads((CAPTURED / f"rounds-{name}.json").read_text())]


def test_predict(lab):
    found = lab.predict([0.7, 0.49, 0.343], 0.05)
    assert found.tokens_per_run == pytest.approx(2.533)
    assert found.round_cost == pytest.approx(1.15)
    assert found.speedup == pytest.approx(2.2026, abs=1e-4)


def test_read_counters(lab):
    assert lab.read_counters(METRICS) == lab.Counters(953, 2859, 767, (427, 218, 122))


def test_read_counters_adds_up_engines_and_orders_positions(lab):
    """Two engines behind one server; positions come in any order, and there may be more than 9."""
    prefix = "vllm:spec_decode_num_"
    lines = [
        f'{prefix}{name}_total{{engine="{engine}"}} 20.0'
        for engine in (0, 1)
        for name in ("drafts", "draft_tokens", "accepted_tokens")
    ]
    lines += [
        f'{prefix}accepted_tokens_per_pos_total{{engine="{engine}",position="{place}"}} {place}.0'
        for engine in (1, 0)
        for place in (10, 2, *range(2), *range(3, 10))
    ]
    found = lab.read_counters("\n".join(lines))
    assert found == lab.Counters(40, 40, 40, tuple(2 * place for place in range(11)))


def test_acceptance_rate_is_of_drafted_tokens(lab):
    assert lab.acceptance_rate(lab.read_counters(METRICS)) == pytest.approx(767 / 2859)


def test_acceptance_length_is_of_rounds(lab):
    counters = lab.read_counters(METRICS)
    assert lab.acceptance_length(counters, bonus=False) == pytest.approx(767 / 953)
    assert lab.acceptance_length(counters, bonus=True) == pytest.approx(1 + 767 / 953)


def test_survivals_where_every_round_drafts_as_much(lab):
    assert lab.survivals([(2, 0), (2, 1), (2, 2), (2, 2)]) == [0.75, 0.5]
    assert lab.survivals([(3, 1), (3, 0)]) == [0.5, 0, 0]
    assert lab.survivals([]) == []


def test_measured_gives_what_a_round_cost(lab):
    found = lab.measured(lab.Counters(100, 300, 100, (60, 30, 10)), off=20.0, on=30.0)
    assert found.tokens_per_run == pytest.approx(2)
    assert found.speedup == pytest.approx(1.5)
    assert found.round_cost == pytest.approx(2 / 1.5)


def test_a_miss_is_acceptance_times_cost(lab):
    predicted = lab.predict([0.6, 0.4], 0.1)
    found = lab.measured(lab.Counters(100, 200, 80, (50, 30)), off=20.0, on=25.0)
    tokens, cost = lab.explain(predicted, found)
    assert tokens == pytest.approx(1.8 / 2.0)
    assert tokens * cost == pytest.approx(found.speedup / predicted.speedup)


@pytest.mark.parametrize("name", KINDS)
def test_captured_counters_add_up(lab, name):
    """Each figure can be had from the others while every round drafts k tokens."""
    counters = lab.read_counters(captured(name))
    steps = captured_steps(name)
    assert counters.num_accepted_tokens == sum(counters.accepted_per_pos)
    assert counters.num_drafts == len(steps)
    assert counters.num_draft_tokens == sum(drafted for drafted, _ in steps)
    assert counters.num_accepted_tokens == sum(accepted for _, accepted in steps)
    assert lab.acceptance_length(counters, bonus=True) == pytest.approx(
        1 + sum(counters.accepted_per_pos) / counters.num_drafts
    )


def test_captured_run_against_the_prediction(lab):
    """Code is accepted more often than the card's mean, prose less; a round costs more for both."""
    run = json.loads((CAPTURED / "run.json").read_text())
    predicted = lab.predict(lab.CARD_SURVIVALS, lab.CARD_COST)
    tokens, cost = {}, {}
    for name in KINDS:
        rates = run["texts"][name]["1"]
        counters = lab.read_counters(captured(name))
        found = lab.measured(counters, rates["off"], rates["on"])
        tokens[name], cost[name] = lab.explain(predicted, found)
    assert tokens["humaneval"] > 1 > tokens["mt_bench"]
    assert max(cost.values()) < 1


# The second part: a denominator of its own for each position.


def test_survivals_where_rounds_draft_as_much_as_pays(lab):
    """Three rounds drafted 1 token, one drafted 3: only one could have accepted a third."""
    steps = [(1, 1), (1, 1), (1, 0), (3, 3)]
    assert lab.survivals(steps) == [0.75, 1.0, 1.0]


@pytest.mark.gpu
def test_on_a_gpu(lab, tmp_path):
    """The whole measurement, where there are a GPU and a vLLM for it."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    command = [sys.executable, str(HERE / "measure.py"), "--vllm-python", sys.executable]
    subprocess.run([*command, "--out", str(tmp_path), "--streams", "1,8"], check=True)
    counters = lab.read_counters((tmp_path / "metrics-humaneval.txt").read_text())
    assert counters.num_accepted_tokens > 0
