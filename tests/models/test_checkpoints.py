"""From a name to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models.checkpoints import (
    choose_device,
    convert_gguf,
    demo_gguf,
    load_checkpoint,
    locate,
)

Tiny = Callable[[str], Path]


def test_a_folder_loads_in_the_dtype_asked_for(tiny: Tiny) -> None:
    checkpoint = load_checkpoint(str(tiny("llama")), "bfloat16", "cpu")
    assert checkpoint.model.dtype == torch.bfloat16
    assert checkpoint.eos_token_ids == {1}


def test_words_that_are_paths_and_words_that_are_hub_ids(tmp_path: Path) -> None:
    assert locate("org/model") == "org/model"
    assert locate(str(tmp_path)) == str(tmp_path)
    for missing in ("./model", "/no/model", "model.gguf", "a/b/c"):
        with pytest.raises(CheckpointError, match="does not exist"):
            locate(missing)
    other = tmp_path / "weights.bin"
    other.touch()
    with pytest.raises(CheckpointError, match=r"no \.gguf"):
        locate(str(other))


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="must be auto, cpu, cuda"):
        choose_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            choose_device("cuda")


def test_encoder_decoders_are_refused(tmp_path: Path, tiny: Tiny) -> None:
    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="encoder-decoder"):
        load_checkpoint(str(tmp_path))


def test_a_folder_without_a_model_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(str(tmp_path))


def test_gguf_is_converted_once() -> None:
    """Reading the converted folder gives the tensors that the conversion wrote."""
    source = Path(demo_gguf())
    folder = convert_gguf(source)
    weights = folder / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert convert_gguf(source) == folder
    assert weights.stat().st_mtime_ns == written
    assert not list(folder.parent.glob(".converting-*"))


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    monkeypatch.setenv("FAIRDRAFT_CACHE", str(blocker))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match="corrupt"):
        convert_gguf(broken)
