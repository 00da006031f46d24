"""Rounds repeat the prompts: what a proposer remembers of them must not flatter later rounds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fairdraft import LLM
from fairdraft.bench.grid import CLEARED, KEPT, Bench, Grid
from fairdraft.bench.measurement import Measurement
from fairdraft.bench.report import MEMORY, report, table
from fairdraft.config import SpeculativeConfig
from fairdraft.errors import ConfigError
from fairdraft.proposers import build_proposer
from tests.conftest import write_tiny

METHODS = ("ngram", "suffix", "hybrid", "auto")
PROMPTS = ("abc abc abc abc", "What is 2 + 2?", "the quick brown fox", "one two three")
# What hybrid and auto learned of their methods stays from round to round, as it would in a server.
NOISE = {"ngram": 0.001, "suffix": 0.001, "hybrid": 0.03, "auto": 0.03}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """Six rounds of every method, with memory cleared or kept; each measured once.

    The model repeats itself some of the time, so that a proposer without memory finds something and
    one with memory finds more.
    """
    folder = tmp_path_factory.mktemp("grid")
    model = str(write_tiny(folder / "model", "llama", initializer_range=0.12))
    dataset = folder / "prompts.jsonl"
    dataset.write_text("\n".join(json.dumps({"prompt": text}) for text in PROMPTS))
    done: dict[str, Bench] = {}

    def load(method: str, k: int, /, **options: Any) -> LLM:
        drafting = {"method": method, "num_speculative_tokens": k}
        return LLM(model, dtype="float32", speculative_config=drafting, **options)

    def measured(memory: str) -> Bench:
        if memory not in done:
            grid = Grid((str(dataset),), METHODS, (4,), (2,), 4, 24, 6, memory)
            settings = {"model": "tiny", "dtype": "float32"}
            done[memory] = Bench(grid, load, lambda llm, text: llm.tokenizer.encode(text), settings)
            with pytest.MonkeyPatch.context() as patch:
                count_instead_of_timing(patch)
                done[memory].run()
        return done[memory]

    return measured


def count_instead_of_timing(patch: pytest.MonkeyPatch) -> None:
    """Let no decision hang on how busy this machine is: each look at the clock takes a while.

    Verbs of a step take 10 ms each, whatever they do, and what a proposer does 0.1 ms.
    """
    for method in METHODS:
        build_proposer(SpeculativeConfig(method, 4))  # its module is imported now, not later
    now = [0.0]

    def clock(tick: float) -> Callable[[], float]:
        def look() -> float:
            now[0] += tick
            return now[0]

        return look

    for name, module in list(sys.modules.items()):
        if name.startswith("fairdraft.") and hasattr(module, "perf_counter"):
            drafts = name in ("fairdraft.proposers.auto", "fairdraft.proposers.hybrid")
            patch.setattr(module, "perf_counter", clock(1e-4 if drafts else 1e-2))


def tokens_a_step(bench: Bench, method: str, rounds: int) -> float:
    """Of a method's first rounds together."""
    whole = Measurement()
    for cell, samples in bench.samples.items():
        for sample in samples[:rounds] if cell.method == method else ():
            whole.add(sample)
    return whole.counters.tokens_per_step


@pytest.mark.parametrize("method", METHODS)
def test_two_rounds_and_six_tell_the_same(run: Callable[[str], Bench], method: str) -> None:
    two, six = (tokens_a_step(run(CLEARED), method, rounds) for rounds in (2, 6))
    assert two > 1.05  # something was accepted, so there is something to agree on
    assert six == pytest.approx(two, rel=NOISE[method])


def test_auto_gains_no_more_than_the_method_that_it_asks(run: Callable[[str], Bench]) -> None:
    suffix, auto = (tokens_a_step(run(CLEARED), method, 6) for method in ("suffix", "auto"))
    assert auto <= 1.01 * suffix


@pytest.mark.parametrize("method", ["suffix", "hybrid", "auto"])
def test_kept_memory_raises_what_methods_that_remember_come_to(
    run: Callable[[str], Bench], method: str
) -> None:
    cleared, kept = (tokens_a_step(run(memory), method, 6) for memory in (CLEARED, KEPT))
    assert kept > 1.5 * cleared
    assert tokens_a_step(run(KEPT), "ngram", 6) == tokens_a_step(run(CLEARED), "ngram", 6)


@pytest.mark.parametrize("memory", [CLEARED, KEPT])
def test_the_report_says_what_became_of_memory(run: Callable[[str], Bench], memory: str) -> None:
    found = report(run(memory))
    assert found["memory"] == memory
    assert MEMORY[memory] in str(table(found).caption)
    assert ("earlier rounds" in MEMORY[memory]) == (memory == KEPT)


def test_one_engine_never_meets_its_own_answers_to_a_prompt() -> None:
    grid = Grid(("gsm8k", "humaneval"), ("suffix",), (4,), (1, 2), 2, 8, 3)
    salts = [grid.cache_salt(number, cell) for number in range(4) for cell in grid.cells]
    assert len(set(salts)) == len(salts) == 4 * 2 * 2
    kept = Grid(("gsm8k",), ("suffix",), (4,), (1,), 2, 8, 3, KEPT)
    assert {kept.cache_salt(number, kept.cells[0]) for number in range(4)} == {None}


def test_another_word_for_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"memory is 'off', but must be 'cleared' or 'kept'"):
        Grid(("gsm8k",), ("ngram",), (4,), (1,), 1, 8, 1, "off")
