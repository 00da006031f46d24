"""Batch invariance: equal bits whatever runs beside, and a clear word where that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM as Auto
from transformers import LlamaConfig

from fairdraft import LLM, SamplingParams
from fairdraft.errors import CheckpointError
from fairdraft.models import ModelRunner
from fairdraft.models.invariance import largest_difference

Tiny = Callable[[str], Path]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral", "gemma2", "gemma3_text"])
def test_rows_are_the_same_in_any_company(kind: str, dtype: torch.dtype, tiny: Tiny) -> None:
    runner = ModelRunner(Auto.from_pretrained(tiny(kind), dtype=dtype), batch_invariant=True)
    assert largest_difference(runner)[0] == 0


def small_model(head_dim: int, hidden_size: int) -> Any:
    config = LlamaConfig(
        vocab_size=500,
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size // 2,
        num_hidden_layers=3,
        num_attention_heads=10,
        num_key_value_heads=5,
        head_dim=head_dim,
    )
    torch.manual_seed(0)
    return Auto.from_config(config)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("head_dim", "hidden_size"), [(16, 60), (100, 1000), (6, 50)])
def test_widths_of_any_size_will_do(head_dim: int, hidden_size: int, dtype: torch.dtype) -> None:
    runner = ModelRunner(small_model(head_dim, hidden_size).to(dtype), batch_invariant=True)
    assert largest_difference(runner)[0] == 0


def odd_model() -> Any:
    """float64 goes through torch, whose kernels differ by row count."""
    return small_model(100, 1000).double()


def test_the_check_can_fail() -> None:
    with pytest.raises(CheckpointError, match="batch_invariant=True cannot be kept"):
        ModelRunner(odd_model(), batch_invariant=True)


def test_what_cannot_be_invariant_loads_without_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("WARNING", logger="fairdraft"):
        runner = ModelRunner(odd_model(), batch_invariant=None)
        ModelRunner(odd_model(), batch_invariant=False)
    assert not runner.batch_invariant
    (record,) = caplog.records
    assert "llama loads without batch invariance" in record.getMessage()


@pytest.mark.parametrize("kind", ["llama", "qwen3"])  # fused, and by transformers' modules
def test_invariance_is_the_default(kind: str, tiny: Tiny) -> None:
    llm = LLM(str(tiny(kind)), max_model_len=64)
    assert llm.runner.batch_invariant
    assert not LLM(str(tiny(kind)), max_model_len=64, batch_invariant=False).runner.batch_invariant


def test_bfloat16_text_is_bitwise_the_same_on_and_off(tiny: Tiny) -> None:
    """On and off, batched, chunked, preempted and behind prefix hits, with log-probabilities."""
    folder = str(tiny("llama"))
    prompts = [{"prompt_token_ids": [5, 6, 7, 8] * 9 + [i]} for i in range(6)]
    params = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, logprobs=2)
    common = {"dtype": "bfloat16", "block_size": 8}
    ngram = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 1}
    off = LLM(folder, **common, max_num_seqs=1).generate(prompts, params)
    tight = {"max_num_seqs": 6, "max_num_batched_tokens": 24, "num_gpu_blocks_override": 30}
    on = LLM(folder, **common, **tight, speculative_config=ngram)
    for _ in range(2):  # the second time behind prefix hits
        again = on.generate(prompts, params)
        for one, other in zip(off, again, strict=True):
            assert one.outputs[0].token_ids == other.outputs[0].token_ids
            assert one.outputs[0].logprobs == other.outputs[0].logprobs
    assert on.engine.scheduler.num_preemptions
    assert on.counters.num_accepted_tokens
    assert again[0].num_cached_tokens
