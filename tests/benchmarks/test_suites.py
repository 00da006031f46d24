"""The suites' parts on small models and made-up times; what machines take is not tested."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig
from transformers import AutoModelForCausalLM as Auto

from benchmarks.interleave import LEAST_ROUNDS, Answering, Job, in_turns, rounds
from benchmarks.prompts import MIXED, few_shot_prompt, mixed_prompts, text_of
from benchmarks.suites import mixed, neighbours, peers, prompts, rows, shares
from benchmarks.tables import speed
from fairdraft import LLM, SamplingParams
from fairdraft.bench.datasets import load_prompts
from fairdraft.models import ModelRunner
from fairdraft.profiling import build_shape
from tests.conftest import tiny_tokenizer

FOUND = {"prompt_lookup_min": 1}  # in texts of so few tokens
SETTINGS = rows.settings([1, 2, 3, 7], [8], [16, 40], [1], [(3, 2)])


def check_table(found: tuple[list[str], list[list[str]], str], lines: int) -> None:
    header, body, _ = found
    assert len(body) == lines
    assert {len(line) for line in body} == {len(header)}


def test_rounds_end_when_time_is_up_but_not_before_a_median() -> None:
    assert list(rounds(2, minutes=9)) == [0, 1, 2]
    assert list(rounds(90, minutes=0)) == list(range(LEAST_ROUNDS + 1))


def test_row_counts() -> None:
    assert rows.numbers("1-3,8,2") == [1, 2, 3, 8]
    of_one = {s.rows for s in SETTINGS if (s.requests, s.context) == (1, 16)}
    assert of_one == {1, 2, 3, 4, 5, 7}
    assert {s for s in SETTINGS if s.context == 40} == {
        *(rows.Setting(1, n, 40) for n in (1, 2, 3, 4, 5, 8)),
        rows.Setting(3, 2, 40),
    }
    assert {s.rows for s in rows.settings([], [], [16], [2], []) if s.requests == 2} == {
        *rows.VERIFIED
    }


def test_rows_of_a_tiny_model(tiny: Callable[[str], Path]) -> None:
    runner = ModelRunner(Auto.from_pretrained(tiny("llama"), dtype=torch.bfloat16))
    kv_bytes = rows.allocate(runner, SETTINGS)
    assert kv_bytes == 3 * 48 * runner.kv_bytes_per_token  # 3 requests of 42 tokens, in blocks
    assert runner.storage is not None
    assert all(bool((t == t.flatten()[0]).all()) and t.any() for t in runner.storage.keys)
    samples, sums = rows.measure(runner, SETTINGS, torch.ones(1000), 2, 9)
    assert {len(taken) for taken in (*samples.values(), sums)} == {2}
    rates = {"bfloat16": rows.best_rate(torch.bfloat16, 16), "float32": 1e9}
    times = {setting: taken[0] for setting, taken in samples.items()}
    summary = rows.summarise(runner, times, 1e9, rates)
    about = {"model": "tiny", "dtype": "bfloat16", "rounds": 2, "bandwidth": 1e9, "flops": rates}
    report = {**about, "memory_ratio": 1.0, **summary}
    # 1 to 5 rows and 8, of which 7 are not shown, and 3 × 2.
    check_table(speed.rows(report), 6 + 1)
    rows.show(report)


def test_what_follows_from_times(tiny: Callable[[str], Path]) -> None:
    """T(n) = 10 + n ms, but for a step of 4 ms more behind 5 rows."""
    times = {rows.Setting(1, n, 16): 10.0 + n + 4 * (n > 5) for n in (1, 2, 3, 4, 5, 6, 8)}
    assert rows.growth(times, 1, 16) == pytest.approx(1 / 11)
    behind, step = rows.largest_step(times, 16) or (0, 0.0)
    assert (behind, step) == (5, pytest.approx(20 / 15 - 1))
    assert rows.largest_step({rows.Setting(1, 1, 16): 1.0}, 16) is None

    model = Auto.from_pretrained(tiny("llama"), dtype=torch.bfloat16)
    runner = ModelRunner(model)
    line = rows.roofline(runner, 16, bandwidth=1e6, rate=1e15)
    read = runner.weight_bytes + 2 * 16 * runner.kv_bytes_per_token
    assert line.seconds(2, 5, 16) == pytest.approx(read / 1e6)
    multiplied = 2 * sum(p.numel() for p in model.parameters()) + 4 * 16 * 4 * 4 * 32
    bound = rows.roofline(runner, 16, bandwidth=1e15, rate=1e6)
    assert bound.seconds(2, 5, 16) == pytest.approx(10 * multiplied / 1e6)


def test_a_sliding_window_reads_its_part(tiny: Callable[[str], Path]) -> None:
    """Two of the tiny Gemma's four layers see 6 tokens, the others all 24."""
    runner = ModelRunner(Auto.from_pretrained(tiny("gemma3_text"), dtype=torch.bfloat16))
    line = rows.roofline(runner, 24, 1.0, 1.0)
    assert line.kv_bytes == runner.kv_bytes_per_token * (2 * 6 / 24 + 2) / 4


@pytest.mark.parametrize("shape", ["gemma3", "qwen2"])
def test_shapes_have_the_demo_models_widths(shape: str) -> None:
    with torch.device("meta"):
        config = AutoConfig.for_model(**_fields(rows.SHAPES[shape]))
        model = Auto.from_config(config)
    count = sum(p.numel() for p in model.parameters())
    assert count == pytest.approx(134.5e6, rel=0.02)


def _fields(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def test_a_small_shape_is_built(tmp_path: Path) -> None:
    """The suites' own files are what `build_shape` reads."""
    fields = _fields(rows.SHAPES["qwen2"])
    fields |= {"num_hidden_layers": 1, "vocab_size": 64, "intermediate_size": 64}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    assert build_shape(str(path), "bfloat16", "cpu").config.model_type == "qwen2"


def test_prompts_of_all_lengths() -> None:
    """In bytes, which are the tiny tokenizer's tokens; examples stand before the question."""
    tokenizer = tiny_tokenizer()
    question = load_prompts("gsm8k")[3]
    alone = few_shot_prompt(tokenizer, "gsm8k", 3, 1)
    assert question in tokenizer.decode(alone)
    longer = few_shot_prompt(tokenizer, "gsm8k", 3, 3000)
    assert 2000 < len(longer) <= 3000
    assert tokenizer.decode(longer).index(load_prompts("gsm8k")[2]) > 0
    whole = tokenizer.decode(few_shot_prompt(tokenizer, "gsm8k", 3, 10**6))
    assert whole.rstrip().endswith("assistant:")
    assert all(whole.count(text) == 1 for text in load_prompts("gsm8k"))
    found = mixed_prompts(tokenizer)
    assert len(found) == len(MIXED)
    assert all(a != b for a, b in zip(found, mixed_prompts(tokenizer, 8), strict=True))
    assert len(text_of(tokenizer, 4000)) == 4000


def test_reading_prompts_in_turns() -> None:
    asked: list[tuple[str, int]] = []

    def reader(name: str) -> prompts.Read:
        def read(prompt: list[int]) -> float:
            asked.append((name, len(prompt)))
            return float(len(asked))

        return read

    readers = {name: reader(name) for name in ("fairdraft", "transformers")}
    found = prompts.take_turns(readers, [[1] * 4000, [1] * 400], 5, 2, 9, 0.0)
    assert {n: len(s["fairdraft"]) for n, s in found.items()} == {4000: 2, 400: 4}
    assert [prompts.turns_of(n, 5) for n in (64, 512, 4000)] == [5, 2, 1]
    assert [name for name, n in asked if n == 4000] == [
        *("fairdraft", "transformers"),
        *("transformers", "fairdraft"),
        *("fairdraft", "transformers"),
    ]
    row = {"tokens": 600, "fairdraft_ms": 1.0, "transformers_ms": 2.0}
    report = {
        "dtype": "bfloat16",
        "batch_invariant": True,
        "max_num_batched_tokens": 512,
        "rows": [{**row, "over_transformers": [0.5, 0.4, 0.6]}],
    }
    check_table(speed.prompts(report), 1)


def test_busy_processes_end() -> None:
    with neighbours.busy(0):
        pass
    with neighbours.busy(2):
        before = peers.busy_cores(0.3)
    assert before > 0.2  # of a core: others may want the machine too


def test_rates_beside_neighbours() -> None:
    found = {
        ("fairdraft", 1, 0): [40.0, 50.0],
        ("fairdraft", 1, 1): [20.0, 30.0],
        ("vllm", 1, 0): [10.0, 10.0],
        ("vllm", 1, 1): [1.0, 2.0],
    }
    summary = neighbours.summarise(found)
    assert [row["over_idle"] for row in summary] == pytest.approx([1, 0.55, 1, 0.15])
    check_table(speed.neighbours({"rows": summary}), 2)


def test_ratios_of_peers() -> None:
    rates = {
        peers.Config(engine, method, 1): [speed]
        for engine, method, speed in (
            ("fairdraft", "off", 30.0),
            ("fairdraft", "auto", 33.0),
            ("vllm", "off", 15.0),
        )
    }
    assert peers.ratios(rates) == pytest.approx(
        {
            "off, 1 streams: fairdraft / vllm": 2.0,
            "auto, 1 streams: fairdraft / its own off": 1.1,
        }
    )
    samples = [peers.Sample(i, 0.0, 1.0, 2, [[1, 2]], {"drafted": 4}) for i in (0, 0, 1)]
    assert peers.counted(samples) == {"drafted": 8}


def test_turns_count_decoding_steps_alone(tiny: Callable[[str], Path]) -> None:
    """Shares, c and tables of a run on the tiny model."""
    model = str(tiny("llama"))
    engines = {
        name: LLM(model, speculative_config=speculative, enable_prefix_caching=False)
        for name, speculative in (("off", None), ("ngram", {"method": "ngram", **FOUND}))
    }
    params = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
    made = [Job([1, 2, 3, 4 + i] * 5, params) for i in range(4)]
    found = shares.run_in_turns(engines, made, 2)
    off = found["off"]["decoding"]
    assert 0 < off["num_steps"] < found["off"]["times"]["num_steps"]
    assert off["num_steps"] == sum(steps for _, _, steps in found["off"]["turns"])
    assert found["ngram"]["decoding"]["drafted"] > 0
    assert sum(shares.shares(found["off"])[verb] for verb in shares.VERBS) == pytest.approx(1)
    assert shares.draft_cost(found["ngram"], found["off"]) > 0
    with pytest.raises(SystemExit, match="give more prompts or tokens"):
        shares.run_in_turns(engines, made[:2], 3)

    head = {"k": 3, "c": 0.05, "speedup": [1.2, 1.1, 1.3], "mean_acceptance_length": 2.0}
    lines = [{"method": "off", "step_ms": 1.0, "shares": shares.shares(found["off"])}]
    settings = {"streams": 8, "temperature": 1.0, "top_p": 0.95}
    check_table(speed.shares({**settings, "rows": lines, "head": head}), 1)


def test_turns_are_parted_into_visits(tiny: Callable[[str], Path]) -> None:
    llm = LLM(str(tiny("llama")), enable_prefix_caching=False)
    params = SamplingParams(temperature=0, max_tokens=13, ignore_eos=True)
    under_way = [Answering(llm, [Job([1, 2, 3], params)], 1, 4)]
    called: list[int] = []
    in_turns(under_way, 2, lambda: called.append(len(under_way[0].turns)))
    assert called == [0, 1, 2, 3]  # 13 steps, and what finds nothing left to do


def test_what_plan_says_of_mixed_prompts() -> None:
    row = {"streams": 1, "tokens_per_second": 9.0, "drafted": 4, "accepted": 2}
    lines = [
        {**row, "method": "off", "over_off": [1.0, 1.0, 1.0]},
        {**row, "method": "ngram", "over_off": [1.2, 1.1, 1.3], "planned": [1.25, 1.2, 1.3]},
    ]
    check_table(speed.mixed({"prompt_tokens": [40, 800], "tokens_per_text": 8, "rows": lines}), 2)
    assert set(mixed.STREAMS) == {1, 8}
