"""MTP tensors are read from a target's own checkpoint; where there are none, that is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoConfig

from fairdraft.errors import CheckpointError
from fairdraft.heads.mtp import read_mtp

Tiny = Callable[[str], Path]


@pytest.mark.parametrize("name", ["demo", "file.gguf"])
def test_gguf_files_have_none(name: str, tiny: Tiny) -> None:
    with pytest.raises(CheckpointError, match="GGUF files bring none"):
        read_mtp(name, AutoConfig.from_pretrained(tiny("llama")))


def test_a_target_without_such_layers_is_told(tiny: Tiny) -> None:
    folder = tiny("llama")
    with pytest.raises(CheckpointError, match="has no MTP layers"):
        read_mtp(str(folder), AutoConfig.from_pretrained(folder))
