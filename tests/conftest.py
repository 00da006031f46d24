"""Checkpoints and tokenizers that tests write themselves, and the packaged demo model."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM as Auto
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from fairdraft import LLM
from fairdraft.proposers import Proposer, registry

TINY = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    # Wide enough that the tokens before matter and the likeliest token changes all the time.
    "initializer_range": 0.25,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}

CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**TINY, tie_word_embeddings=True),
    "qwen2": lambda: Qwen2Config(
        **TINY, use_sliding_window=True, sliding_window=6, max_window_layers=2
    ),
    "qwen3": lambda: Qwen3Config(**TINY),
    "mistral": lambda: MistralConfig(**TINY, sliding_window=7),
    "gemma2": lambda: Gemma2Config(
        **TINY, sliding_window=9, query_pre_attn_scalar=32, tie_word_embeddings=False
    ),
    "gemma3_text": lambda: Gemma3TextConfig(
        **TINY,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention"] * 2,
        query_pre_attn_scalar=32,
        tie_word_embeddings=False,  # tied and scaled as in Gemma, random weights only echo
    ),
    "phi3": lambda: Phi3Config(
        **TINY,
        sliding_window=8,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.75,
        },
    ),
    "smollm3": lambda: SmolLM3Config(**TINY, no_rope_layers=[1, 1, 0, 1]),
    "olmo2": lambda: Olmo2Config(**TINY),
    "granite": lambda: GraniteConfig(
        **TINY,
        embedding_multiplier=3.0,
        residual_multiplier=0.4,
        attention_multiplier=0.1,
        logits_scaling=2.5,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=320,
        n_embd=64,
        n_layer=4,
        n_head=2,
        n_positions=256,
        initializer_range=0.25,
        bos_token_id=0,
        eos_token_id=1,
    ),
}


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges: any text in, 256 bytes and a few specials."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1} | {char: i + 2 for i, char in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return tokenizer


def write_tiny(folder: Path, kind: str, seed: int = 3, **changes: Any) -> Path:
    """A tiny random checkpoint with its tokenizer; `changes` go to its config."""
    config = CONFIGS[kind]()
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    Auto.from_config(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


FEW_TOKENS = range(6)


def prefer_few_tokens(model: Any) -> Any:
    """Make a model with random weights choose among `FEW_TOKENS`, by scaling their output rows.

    Two such models agree every few tokens, so that drafts of the one are accepted by the other.

    Returns:
        The model itself, changed.
    """
    with torch.no_grad():
        model.get_output_embeddings().weight[list(FEW_TOKENS)] *= 6
    return model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random checkpoint by model type, float32, written once a session."""
    written: dict[str, Path] = {}

    def write(kind: str) -> Path:
        if kind not in written:
            written[kind] = write_tiny(tmp_path_factory.mktemp(kind), kind)
        return written[kind]

    return write


@pytest.fixture
def prompts_file(tmp_path: Path) -> str:
    """Four prompts, one under each name a prompt may have, and a blank line."""
    records = [
        {"prompt": "abc abc abc abc"},
        {"question": "What is 2 + 2? 2 + 2?"},
        {"turns": ["ababababab", "the second turn"]},
        {"id": 4, "prompt": "[red]x[/red] [x] x x x"},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n\n".join(map(json.dumps, records)) + "\n")
    return str(path)


@pytest.fixture(scope="session")
def demo() -> LLM:
    """The packaged small model in float32, without speculation."""
    return LLM("demo", dtype="float32", max_model_len=1024)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`register(name=ProposerClass)`: methods by name for one test, beside what is installed."""

    def add(**proposers: type[Proposer]) -> None:
        methods = registry.known_methods()
        for name, proposer in proposers.items():
            value = f"{proposer.__module__}:{proposer.__name__}"
            methods[name] = EntryPoint(name, value, registry.GROUP)
        monkeypatch.setattr(registry, "known_methods", lambda: methods)

    return add
