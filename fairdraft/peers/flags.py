"""The line that starts an engine with a draft length, ready to be pasted."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Protocol

from fairdraft.errors import ConfigError
from fairdraft.peers.drafting import Drafting
from fairdraft.peers.fairdraft import flags as fairdraft
from fairdraft.peers.llama_cpp import flags as llama_cpp
from fairdraft.peers.sglang import flags as sglang
from fairdraft.peers.vllm import flags as vllm


class EngineFlags(Protocol):
    """What each engine's `flags` module has.

    Attributes:
        NAME: as its makers write it.
        OFF: how to start it without speculation, in words.
        METHODS: those it can run; None: all.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802
    @property
    def OFF(self) -> str: ...  # noqa: N802
    @property
    def METHODS(self) -> Container[str] | None: ...  # noqa: N802
    def flags(self, drafting: Drafting, /) -> str: ...
    def draft_length(self, drafting: Drafting, /) -> int: ...


ENGINES: Mapping[str, EngineFlags] = {
    "fairdraft": fairdraft,
    "vllm": vllm,
    "sglang": sglang,
    "llama.cpp": llama_cpp,
}


def paste_line(engine: str, drafting: Drafting) -> str:
    """Return what to start an engine with, or, in parentheses, why there is nothing to paste.

    A line is complete: where the method needs a checkpoint and none is named, there is no line.

    Args:
        engine: one of `ENGINES`.
        drafting: who drafts, and how much.

    Raises:
        ConfigError: no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r}, but must be one of {', '.join(ENGINES)}, or all")
    start = ENGINES[engine]
    if start.METHODS is not None and drafting.method not in start.METHODS:
        return f"({start.NAME} has no method {drafting.method!r})"
    if not start.draft_length(drafting):
        return f"(off: {start.OFF})"
    if drafting.lacks_checkpoint:
        return f"({drafting.method} needs a checkpoint: name it with --drafter FOLDER or hub id)"
    return start.flags(drafting)
