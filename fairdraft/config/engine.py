"""How the engine runs: its limits and its memory."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Annotated, Any

from pydantic import SkipValidation

from fairdraft.config.checks import refusal, require, shown, unknown
from fairdraft.config.fields import Flag, OneOf, Text, Whole, checked
from fairdraft.config.speculation import SpeculativeConfig
from fairdraft.errors import ConfigError

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = "auto, cpu, cuda or cuda:N"
BLOCK_BOOKKEEPING = 256  # bytes that a KV block takes beside the KV itself, at least

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


@checked
class EngineConfig:
    """How the engine runs: limits, memory, precision. Names are vLLM's where vLLM has one.

    Raises:
        ConfigError: a value is out of range.
    """

    model: Annotated[str, Text("a hub id, a folder, a GGUF file or 'demo'")]
    """hub id, local folder, GGUF file, or "demo" for the packaged small model."""

    dtype: Annotated[str, OneOf(DTYPES)] = "auto"
    """"auto", which is bfloat16; or "float32", "bfloat16", "float16"."""

    device: Annotated[str, Text(DEVICES)] = "auto"
    """"auto", "cpu", "cuda" or "cuda:N"."""

    revision: Annotated[str, Text("a branch, tag or commit of a hub id")] | None = None
    """which version of a hub id; None is its main branch."""

    max_model_len: Annotated[int, Whole(1, "or None for the default")] | None = None
    """longest prompt plus output in tokens; None takes the model's own limit."""

    batch_invariant: Annotated[bool, Flag("True, False or None")] | None = None
    """whether a row's result must not depend on how many rows run beside it, so that output is
    bitwise the same with speculation on and off, at any batch and schedule. None is on where it can
    be had: on the CPU, unless the model cannot be made invariant, which then loads without, with
    one warning. True refuses such a model and other devices; False is off."""

    max_num_seqs: Annotated[int, Whole(1, "one request must be able to run")] = 8
    """requests that run at once."""

    max_num_batched_tokens: Annotated[int, Whole(1, "512 is usual")] = 512
    """rows of one step, prompt chunks and drafts included; at least `max_num_seqs`, so that every
    decoding request gets one token a step."""

    block_size: Annotated[int, Whole(1, "16 is usual")] = 16
    """tokens in a KV block."""

    num_gpu_blocks_override: Annotated[int, Whole(1, "or None for the default")] | None = None
    """KV blocks in the pool, on whatever device; None derives the number from
    `kv_cache_memory_bytes`."""

    kv_cache_memory_bytes: Annotated[int, Whole(1, "or None for the default")] | None = None
    """memory for KV; None takes room for `max_num_seqs` requests of `max_model_len` tokens, 4 GiB
    at most."""

    enable_prefix_caching: Annotated[bool, Flag()] = True
    """reuse the KV of equal prompt beginnings."""

    seed: Annotated[int, Whole(0, "any whole number from 0 on")] = 0
    """root of the seeds of requests that bring none."""

    speculative_config: Annotated[SpeculativeConfig | None, SkipValidation] = None
    """see `SpeculativeConfig`; None is off."""

    def __post_init__(self) -> None:
        require(
            _DEVICE.fullmatch(self.device) is not None,
            refusal("device", self.device, DEVICES, ""),
        )
        require(
            self.max_num_batched_tokens >= self.max_num_seqs,
            f"max_num_batched_tokens is {self.max_num_batched_tokens}, but must be a whole number "
            f"of at least {self.max_num_seqs}: every one of max_num_seqs={self.max_num_seqs} "
            "requests needs a token a step",
        )
        object.__setattr__(
            self, "speculative_config", SpeculativeConfig.of(self.speculative_config)
        )

    @classmethod
    def of(cls, model: str, speculative_config: Any, **options: Any) -> EngineConfig:
        """Build from `LLM`'s arguments.

        Raises:
            ConfigError: an option is unknown; the message lists the known ones.
        """
        known = sorted({f.name for f in fields(cls)} - {"model", "speculative_config"})
        for name in options:
            require(name in known, unknown("option", name, known, "the engine takes"))
        return cls(
            model=model, speculative_config=SpeculativeConfig.of(speculative_config), **options
        )

    def require_memory(self, num_blocks: int, bytes_per_block: int, memory: int) -> None:
        """Refuse a KV pool that cannot fit, before it is allocated.

        Args:
            num_blocks: of the pool.
            bytes_per_block: of KV; 0 where the model keeps none.
            memory: bytes of the device that the pool goes to.

        Raises:
            ConfigError: it needs more; the message names the option that asked for it.
        """
        needed = num_blocks * (bytes_per_block + BLOCK_BOOKKEEPING)
        if needed <= memory:
            return
        named = ("num_gpu_blocks_override", "kv_cache_memory_bytes")
        asked = next((name for name in named if getattr(self, name) is not None), None)
        given = f"{asked} is {shown(getattr(self, asked))}, so that " if asked else ""
        raise ConfigError(
            f"{given}the KV pool of {shown(num_blocks)} blocks of {self.block_size} tokens takes "
            f"{_gib(needed)}, but there are {_gib(memory)}: lower "
            f"{asked or 'max_model_len or max_num_seqs'}"
        )


def _gib(count: int) -> str:
    return f"{shown(-(-count // 2**30))} GiB"
