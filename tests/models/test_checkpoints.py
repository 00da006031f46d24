"""From a name to a checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models.checkpoints import (
    choose_device,
    convert_gguf,
    demo_gguf,
    find_folder,
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
    for nothing in ("", " ", "a\0b"):
        with pytest.raises(CheckpointError, match="the model is"):
            locate(nothing)
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
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_checkpoint(str(tmp_path))


def cut(path: Path) -> None:
    """Leave half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(**changes: object) -> Callable[[Path], None]:
    """Change entries of a JSON file."""
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes)) and None


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def drop_tensor(path: Path) -> None:
    """Write the weights without the final norm."""
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("config.json", cut, "is no JSON"),
        ("config.json", lambda path: path.write_bytes(b"\xff{}"), "is no JSON"),
        ("config.json", lambda path: path.write_text("[" * 100_000), "is no JSON"),
        ("config.json", lambda path: path.write_text("[1]"), "holds a list"),
        ("config.json", replace_by_folder, "Is a directory"),
        ("config.json", edit(num_attention_heads=0), "config.json"),
        ("config.json", edit(model_type="nonsense"), "nonsense"),
        ("config.json", edit(hidden_size=96), "cannot be loaded"),
        ("config.json", edit(num_hidden_layers=5), "lack 9 tensors"),
        ("generation_config.json", edit(eos_token_id="end"), "eos_token_id is 'end'"),
        ("tokenizer.json", cut, "is no JSON"),
        ("tokenizer.json", lambda path: path.write_text("{}"), "tokenizer"),
        ("model.safetensors", cut, "no whole safetensors file"),
        ("model.safetensors", lambda path: path.write_bytes(b""), "no whole safetensors file"),
        ("model.safetensors", lambda path: path.write_bytes(b"\xff" * 64), "no whole safetensors"),
        ("model.safetensors", replace_by_folder, "no whole safetensors file"),
        ("model.safetensors", Path.unlink, "cannot be loaded"),
        ("model.safetensors", drop_tensor, r"lack 1 tensors .* 'model\.norm\.weight'"),
    ],
)
def test_damage_is_told_with_the_name_of_the_file(
    name: str, damage: Callable[[Path], object], message: str, tmp_path: Path, tiny: Tiny
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny("llama"), folder)
    damage(folder / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(str(folder))
    assert "damaged" in str(caught.value) or "eos_token_id" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_folder_that_training_was_given(tmp_path: Path, tiny: Tiny) -> None:
    shutil.copytree(tiny("llama"), tmp_path / "head")
    assert find_folder(str(tmp_path)) == tmp_path / "head"


def test_a_revision_of_a_local_folder_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match="leave the revision out"):
        load_checkpoint(str(tiny("llama")), revision="main")


def test_loading_prints_nothing(tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    load_checkpoint(str(tiny("llama")))
    assert capfd.readouterr() == ("", "")


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
