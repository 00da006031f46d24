"""Fitting a drafter's files to a target: what is refused, what is borrowed, how it is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.heads.files import HeadFile


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
    """Return the target's own `lm_head`, or its rows of these tokens [draft vocabulary, d]."""
    whole: Tensor = target.get_output_embeddings().weight.data
    if torch.equal(ids.cpu(), torch.arange(len(whole))):
        return whole
    return whole[ids.clamp(0, len(whole) - 1).to(whole.device)]


def borrow_vocabulary(tensors: dict[str, Tensor], draft_vocab_size: int, target: Any) -> None:
    """Add what a file leaves out because it is the target's own: `lm_head`, and a whole map.

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


def load_tensors(head: nn.Module, tensors: Mapping[str, Tensor], name: str, like: Any) -> nn.Module:
    """Load a file's tensors into a module, in a target's precision and on its device.

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
