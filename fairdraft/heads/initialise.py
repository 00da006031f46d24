"""Where a head's weights begin: near the target's own, which is a third of the steps saved."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from fairdraft.errors import CheckpointError
from fairdraft.heads import cut_mlps
from fairdraft.models import final_norm, target_layers

SMALL = 0.1  # of the usual size, beside weights that are the target's


def final_gains(target: Any) -> Tensor:
    """[d] weights of the target's last norm: the rows of its head expect states of that size."""
    size = target.config.get_text_config().hidden_size
    # Mean 0 and a bias that cancels: right for LayerNorm and for RMSNorm.
    probe = torch.ones(2, size, dtype=target.dtype, device=target.device)
    probe[0, 1::2] = probe[1, ::2] = -1
    with torch.no_grad():
        up, down = final_norm(target)(probe)
    gains: Tensor = (up - down) / 2 * probe[0]
    return gains


@torch.no_grad()
def begin_as_last_layer(layer: nn.Module, target: Any) -> None:
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
def begin_as_highest_state(fc: nn.Linear) -> None:
    """Fused states begin as the last of those that are fused, the others weighing little."""
    size = fc.out_features
    fc.weight.mul_(SMALL)
    if fc.in_features % size == 0:
        fc.weight[:, -size:] += torch.eye(size, device=fc.weight.device)
