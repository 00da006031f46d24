"""Initial weights of a head, near the target's own: that saves a third of the training steps."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.models import final_norm, target_layers

SMALL = 0.1  # share of random weights that is kept beside the target's own


def final_gains(target: Any) -> Tensor:
    """Return the weights [d] of the target's last norm, which its `lm_head` expects of states."""
    size = target.config.get_text_config().hidden_size
    # Mean 0 and a bias that cancels: right for LayerNorm and for RMSNorm.
    probe = torch.ones(2, size, dtype=target.dtype, device=target.device)
    probe[0, 1::2] = probe[1, ::2] = -1
    with torch.no_grad():
        up, down = final_norm(target)(probe)
    gains: Tensor = (up - down) / 2 * probe[0]
    return gains


@torch.no_grad()
def initialise_as_last_layer(layer: nn.Module, target: Any) -> None:
    """Copy what has the same name and shape in the target's last layer.

    An MLP of fewer neurons takes the weightiest ones. Projections that read an embedding and a
    state side by side take the target's weights for the state.
    """
    theirs = {n: t.float() for n, t in target_layers(target)[-1].state_dict().items()}
    ours = layer.state_dict()
    down = "mlp.down_proj.weight"
    if down in ours and down in theirs and ours[down].shape[1] < theirs[down].shape[1]:
        with suppress(CheckpointError):  # MLPs of another kind: they begin as they are
            cut_mlps(theirs, ours[down].shape[1])
    for name, tensor in ours.items():
        source = theirs.get("input_layernorm.weight" if name == "hidden_norm.weight" else name)
        if source is None or source.dim() != tensor.dim():
            continue
        if tensor.shape == source.shape:
            tensor.copy_(source)
        elif "self_attn." in name and tensor.shape == (len(source), 2 * source.shape[-1]):
            tensor.mul_(SMALL)
            tensor[:, source.shape[1] :] = source


@torch.no_grad()
def initialise_as_highest_state(fc: nn.Linear) -> None:
    """Set a fusing layer to pass on the last of the states that it fuses; others weigh little."""
    size = fc.out_features
    fc.weight.mul_(SMALL)
    if fc.in_features % size == 0:
        fc.weight[:, -size:] += torch.eye(size, device=fc.weight.device)


def cut_mlps(tensors: dict[str, Tensor], neurons: int) -> None:
    """Keep the neurons whose weights in and out are largest.

    Args:
        tensors: of layers, by name; changed in place.
        neurons: kept in each MLP.

    Raises:
        CheckpointError: MLPs of a kind that cannot be cut.
    """
    downs = [name for name in tensors if name.endswith("mlp.down_proj.weight")]
    inner = [[n.replace("down", part) for part in ("up", "gate")] for n in downs]
    if not downs or any(tensors.get(name, torch.empty(0)).dim() != 2 for n in inner for name in n):
        raise CheckpointError(
            "the target's MLPs have no gate, up and down projection each, and cannot be cut to "
            "fewer neurons: leave out --intermediate-size"
        )
    for down, names in zip(downs, inner, strict=True):
        weight = tensors[down].norm(dim=0)
        for name in names:
            weight = weight * tensors[name].norm(dim=1)
        kept = weight.topk(neurons).indices.sort().values
        tensors[down] = tensors[down][:, kept]
        for name in (*names, *(n.replace(".weight", ".bias") for n in names)):
            if name in tensors:
                tensors[name] = tensors[name][kept]
