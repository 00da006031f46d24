"""Drafter files: what others publish and what we train, from a hub id or a folder.

What each kind of drafter calls its tensors stands beside its network.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fairdraft.errors import CheckpointError

SPECULATORS = {"eagle3": "Eagle3", "dflash": "DFlash"}  # as the format spells them
WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


@dataclass(frozen=True)
class HeadFile:
    """A drafter's files, read.

    Args:
        name: as the user gave it.
        config: config.json.
        tensors: all weights, by the names that the file gives them.
    """

    name: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def kind(self) -> str:
        """What it is: "eagle3", "dflash", "medusa" ….

        Raises:
            CheckpointError: neither its config nor its tensors say.
        """
        declared = (self.config.get(f"{by}_model_type") for by in ("speculators", "fairdraft"))
        if name := next(filter(None, declared), None):
            return str(name)
        architectures = " ".join(self.config.get("architectures") or ())
        if "Eagle3" in architectures or any(n.startswith("midlayer.") for n in self.tensors):
            return "eagle3"
        if "DFlash" in architectures or "dflash_config" in self.config:
            return "dflash"
        if "Eagle" in architectures:
            return "eagle"
        if "Medusa" in architectures or self.config.get("model_type") == "medusa":
            return "medusa"
        if "medusa_num_heads" in self.config:
            return "medusa"
        if "fc.weight" in self.tensors and any(n.startswith("layers.0.") for n in self.tensors):
            return "eagle"  # the original project's config.json names the target's architecture
        raise CheckpointError(
            f"{self.name!r} is no drafter that is known here: its config.json names the "
            f"architecture {architectures or 'nothing'!r} and no speculators_model_type"
        )


def read_head_file(name: str) -> HeadFile:
    """Fetch and read a drafter's files.

    Args:
        name: hub id or folder.

    Raises:
        CheckpointError: nothing is there, or it cannot be read.
    """
    folder = fetch_folder(name)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tensors: dict[str, Tensor] = {}
        for pattern in WEIGHTS:
            for path in sorted(folder.glob(pattern)):
                safe = path.suffix == ".safetensors"
                tensors |= load_file(path) if safe else torch.load(path, weights_only=True)
            if tensors:
                break
    except FileNotFoundError:
        raise CheckpointError(f"{name!r} has no config.json: a drafter's folder has one") from None
    except Exception as error:  # each reader has errors of its own for a broken file
        raise CheckpointError(
            f"{name!r} cannot be read ({type(error).__name__}: {error})"
        ) from error
    if not tensors:
        raise CheckpointError(f"{name!r} has no weights: a *.safetensors or *.bin file is missing")
    return HeadFile(name, config, tensors)


def fetch_folder(name: str) -> Path:
    """Where a checkpoint's files are, once they are fetched.

    Args:
        name: hub id or folder.

    Raises:
        CheckpointError: nothing is there, or it cannot be fetched.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CheckpointError(f"{name!r} does not exist: give a hub id or a folder")
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", *WEIGHTS]))
    except Exception as error:  # the hub's client raises whatever the network does
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{name!r} cannot be fetched: {first[0]}") from error


def refuse_lossy(file: HeadFile) -> None:
    """Raise `CheckpointError` if a file asks for verification that would change the text."""
    proposal = file.config.get("speculators_config") or {}
    for method in proposal.get("proposal_methods") or ():
        for key, harmless in (("verifier_accept_k", 1), ("accept_tolerance", 0.0)):
            if method.get(key, harmless) > harmless:
                raise CheckpointError(
                    f"{file.name!r} asks for {key} {method[key]}, which accepts tokens that the "
                    f"target would not have said: set it to {harmless} in its config.json"
                )


def require_fit(file: HeadFile, what: str, found: int, wanted: int) -> None:
    """Raise `CheckpointError` unless a size in a file's config.json is the target's."""
    if found != wanted:
        raise CheckpointError(
            f"{file.name!r} was made for another target: {what} is {found} in its config.json, "
            f"but {wanted} here"
        )


def require_layers(file: HeadFile, layer_ids: Collection[int], target: Any) -> None:
    """Raise `CheckpointError` unless the target has the layers that a head reads."""
    if min(layer_ids) < 0:
        raise CheckpointError(
            f"{file.name!r} reads hidden state {min(layer_ids)}: they are counted from 0"
        )
    if max(layer_ids) > target.num_hidden_layers:
        raise CheckpointError(
            f"{file.name!r} reads hidden state {max(layer_ids)}, but the target has only "
            f"{target.num_hidden_layers} layers: it was made for another target"
        )


def require_tokens(file: HeadFile, name: str, ids: Tensor, target: Any) -> None:
    """Raise `CheckpointError` unless a head's tokens are the target's, each named once.

    Args:
        file: the head's.
        name: of the tensor that names them.
        ids: [draft vocabulary] int64, the target's ids.
        target: its transformers configuration.
    """
    if (
        int(ids.min()) < 0
        or int(ids.max()) >= target.vocab_size
        or len(set(ids.tolist())) < len(ids)
    ):
        raise CheckpointError(
            f"{file.name!r}: {name} leads to tokens {int(ids.min())} … {int(ids.max())}, but the "
            f"target has {target.vocab_size}, each to be named once"
            + (": d2t holds target id − draft id" if name == "d2t" else "")
        )


def borrow_rows(ids: Tensor, target: Any) -> Tensor:
    """The target's own `lm_head`, or its rows of these tokens [draft vocabulary]."""
    whole: Tensor = target.get_output_embeddings().weight.data
    if torch.equal(ids.cpu(), torch.arange(len(whole))):
        return whole
    return whole[ids.clamp(0, len(whole) - 1).to(whole.device)]


def borrow_vocabulary(tensors: dict[str, Tensor], draft_vocab_size: int, target: Any) -> None:
    """Fill in what a file leaves out because it is the target's own: `lm_head`, and a whole map.

    Args:
        tensors: the file's; d2t names the rows of the target's head that it borrows.
        draft_vocab_size: by its config.json.
        target: the transformers model.
    """
    if draft_vocab_size == target.config.get_text_config().vocab_size:
        tensors.setdefault("d2t", torch.zeros(draft_vocab_size, dtype=torch.int64))
    if "lm_head.weight" not in tensors and "d2t" in tensors:
        ids = tensors["d2t"] + torch.arange(len(tensors["d2t"]))
        tensors["lm_head.weight"] = borrow_rows(ids, target)


def layer_document(layer: Any) -> dict[str, Any]:
    """`transformer_layer_config` of a "speculators" file."""
    values = {key: value for key, value in layer.to_dict().items() if value is not None}
    for key in ("transformers_version", "_name_or_path", "dtype"):
        values.pop(key, None)
    values["rope_theta"] = layer.rope_parameters["rope_theta"]  # where older readers look
    return values


def speculators_document(
    kind: str, k: int, target: str, architectures: Sequence[str]
) -> dict[str, Any]:
    """What every "speculators" config.json says.

    Args:
        kind: of head.
        k: draft length that its readers take by default.
        target: name or path.
        architectures: the target's.
    """
    return {
        "architectures": [f"{SPECULATORS[kind]}Speculator"],
        "speculators_model_type": kind,
        "speculators_version": "0.9.0",
        "torch_dtype": "bfloat16",
        "speculators_config": {
            "algorithm": kind,
            "default_proposal_method": "greedy",
            "proposal_methods": [
                {
                    "proposal_type": "greedy",
                    "speculative_tokens": k,
                    "verifier_accept_k": 1,
                    "accept_tolerance": 0.0,
                }
            ],
            "verifier": {"name_or_path": target, "architectures": list(architectures)},
        },
    }


def vocabulary_map(ids: Tensor, vocab_size: int) -> dict[str, Tensor | None]:
    """`d2t` and `t2d` of a "speculators" file; a whole vocabulary has neither, or vLLM stumbles.

    Args:
        ids: [draft vocabulary] int64, the target's ids.
        vocab_size: of the target.
    """
    if torch.equal(ids.cpu(), torch.arange(vocab_size)):
        return {"d2t": None, "t2d": None}
    known = torch.zeros(vocab_size, dtype=torch.bool)
    known[ids.cpu()] = True
    return {"d2t": ids.cpu() - torch.arange(len(ids)), "t2d": known}


def fill(head: nn.Module, tensors: Mapping[str, Tensor], name: str, like: Any) -> nn.Module:
    """Put a file's tensors into a module, in a target's precision and on its device.

    What the file does not hold stays as it is: rotation works in float32, whatever weights are in.

    Args:
        head: the module.
        tensors: all of its parameters and buffers.
        name: of the file.
        like: the target.

    Returns:
        The module, without gradients.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape.
    """
    wanted = head.state_dict()
    for key in sorted(wanted.keys() | tensors.keys()):
        if key not in tensors:
            shape = list(wanted[key].shape)
            raise CheckpointError(f"{name!r} lacks the tensor {key!r}, which should be {shape}")
        if key not in wanted:
            shape = list(tensors[key].shape)
            raise CheckpointError(
                f"{name!r} has a tensor {key!r} of shape {shape}, which its config.json does not "
                "account for"
            )
        if wanted[key].shape != tensors[key].shape:
            raise CheckpointError(
                f"{name!r}: {key!r} is {list(tensors[key].shape)} in the file, but "
                f"{list(wanted[key].shape)} by its config.json and the target"
            )
    cast = {n: t.to(like.dtype) if t.is_floating_point() else t for n, t in tensors.items()}
    head.load_state_dict(cast, assign=True)
    return head.to(device=like.device).eval().requires_grad_(False)


def write_head_file(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor | None]
) -> None:
    """Write config.json and model.safetensors, floating tensors in bfloat16.

    Args:
        folder: made if it is not there.
        config: what config.json says.
        tensors: by the names that the file gives them; None is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    kept = {
        name: (tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor)
        .contiguous()
        .cpu()
        for name, tensor in tensors.items()
        if tensor is not None
    }
    save_file(kept, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)  # safetensors keeps it to its owner
