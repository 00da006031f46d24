"""The drafters that come with fairdraft: each the default of its method for the demo model."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fairdraft import LLM, SamplingParams
from fairdraft.cli.main import main
from fairdraft.errors import ConfigError
from fairdraft.heads import KINDS, kind_of, read_head_file, shipped_head

METHODS = ("eagle3", "medusa", "dflash", "draft_model")
PROMPTS = ("def add(a, b):", "A farmer has 12 hens. Each lays 5 eggs a week. How many in a month?")
GREEDY = SamplingParams(temperature=0, max_tokens=24, ignore_eos=True)
SAMPLED = SamplingParams(temperature=0.8, top_p=0.95, max_tokens=24, seed=3, ignore_eos=True)


def write(**options: Any) -> tuple[list[list[int]], Any]:
    llm = LLM("demo", dtype="float32", max_model_len=512, **options)
    outputs = llm.generate([*PROMPTS, *PROMPTS], [GREEDY, GREEDY, SAMPLED, SAMPLED])
    return [output.outputs[0].token_ids for output in outputs], llm


@pytest.fixture(scope="module")
def plain() -> list[list[int]]:
    return write()[0]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("eagle3", {"draft_tree_top_k": 2, "draft_tree_depth": 2}),
        ("eagle3", {}),
        ("medusa", {}),
        ("dflash", {}),
        ("draft_model", {}),
    ],
)
def test_it_drafts_and_changes_nothing(
    method: str, options: dict[str, int], plain: list[list[int]]
) -> None:
    speculative = {"method": method, "num_speculative_tokens": 3, **options}
    texts, llm = write(speculative_config=speculative)
    assert texts == plain
    assert llm.counters.num_accepted_tokens > 3  # it has learnt something


def test_they_are_small() -> None:
    folder = Path(str(files("fairdraft"))) / "data" / "heads"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 25e6


@pytest.mark.parametrize("method", METHODS)
def test_inspect_knows_them(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shipped_head("demo", method)
    assert folder is not None
    assert kind_of(read_head_file(folder)) == method in KINDS
    with pytest.raises(SystemExit) as caught:
        main(["inspect", folder])
    said = capsys.readouterr().out
    assert not caught.value.code
    assert all(words in said for words in (method, "made for", "demo", "c by bytes"))


@pytest.mark.parametrize("method", METHODS[:3])
def test_other_targets_have_none(method: str, tiny: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="needs the key 'model'"):
        LLM(str(tiny("llama")), speculative_config={"method": method})
