"""`fairdraft advise`: memory, a short measurement, advice, JSON; models that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fairdraft.cli.advise_measure import LOADS, require_fit
from fairdraft.errors import ConfigError
from fairdraft.models import load_checkpoint
from fairdraft.models.memory import MemoryNeed, available_memory, memory_need

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--minutes", "0.01", "--max-tokens", "16")


def test_advice_on_own_prompts(fairdraft: Run, tiny: str, tmp_path: Path) -> None:
    prompts, out = tmp_path / "p.jsonl", tmp_path / "advice.json"
    prompts.write_text('{"prompt": "one two one two"}\n{"prompt": "aaaa bbbb aaaa"}\n')
    code, said, _ = fairdraft("advise", tiny, "--prompts", str(prompts), *QUICK, "--out", str(out))
    assert code == 0
    for words in ("It fits", "1 request: ", "8 requests: ", "tokens/s"):
        assert words in said
    assert max(map(len, said.splitlines())) <= 80 + len(tiny)  # a name is not broken
    found = json.loads(out.read_text())
    assert found["kind"] == "fairdraft advice"
    assert found["plan"]["concurrencies"] == list(LOADS)
    assert len(found["advice"]) == len(LOADS)


def test_what_is_needed_is_what_a_loaded_model_has(tiny: str) -> None:
    need = memory_need(Path(tiny), torch.bfloat16)
    model = load_checkpoint(tiny).model
    stored = {p.data_ptr(): p.numel() for p in model.parameters()}
    assert need.parameters == sum(stored.values())
    config = model.config
    per_layer = 2 * config.num_key_value_heads * config.head_dim
    assert need.kv_bytes_per_token == 2 * config.num_hidden_layers * per_layer
    assert need.tokens(need.weight_bytes + 10 * need.kv_bytes_per_token) == 10
    assert need.tokens(need.weight_bytes - 1) == 0
    assert 0 < available_memory(torch.device("cpu")) < 2**50


def test_a_model_that_does_not_fit_is_told_what_would() -> None:
    need = MemoryNeed(3 * 10**9, 4, 1000, 4096)
    with pytest.raises(ConfigError, match=r"--dtype bfloat16 takes 5\.59 GiB and fits") as error:
        require_fit("org/model", need, 8 * 2**30, torch.device("cpu"), torch.float32)
    assert "a model of up to 2.0 billion parameters fits" in str(error.value)
    require_fit("org/model", need, 16 * 2**30, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--minutes", "0"), "--minutes is 0"),
        (("--methods", "none"), "names no drafter"),
        (("--methods", "nonsense"), "nonsense"),
        (("--methods", "auto"), "chooses among drafters by itself"),
        (("--prompts", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--max-tokens", "4000"), "made for 512 tokens, and 4008 are the answer's"),
        (("--max-tokens", "500"), "longer than the 4 tokens"),
        (("--speculative-config", "[1]"), "must be an object"),
    ],
)
def test_bad_input_is_told_and_ends_with_2(
    fairdraft: Run, tiny: str, options: tuple[str, ...], words: str
) -> None:
    code, _, said = fairdraft("advise", tiny, *options)
    assert code == 2
    assert said.startswith("error: ")
    assert words in said
