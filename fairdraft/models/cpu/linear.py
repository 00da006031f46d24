"""Products with weights that stay where the checkpoint put them.

On CPU, bfloat16 rows go through `tiles.matmul` where the processor has tiles, few rows of any kind
through `kernels.matmul`: both run near memory bandwidth. Many rows without tiles, other devices and
odd shapes go through torch. Nothing is packed or copied, so tied weights stay tied.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fairdraft.models.cpu import kernels, tiles

MAX_KERNEL_ROWS = 16  # without tiles; measured: from about here on torch's product is faster
MIN_PARALLEL_WEIGHT = 2**17  # numbers; below, waking a second thread costs more than it saves


def as_array(tensor: Tensor) -> npt.NDArray[np.generic]:
    """The tensor's memory as numpy, bfloat16 as its uint16 bits."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    array: npt.NDArray[np.generic] = tensor.numpy()
    return array


def kernel_fits(weight: Tensor) -> bool:
    """Whether `kernels.matmul` can read this weight [N, K]."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and weight.shape[1] % 32 == 0
        and weight.is_contiguous()
    )


def product(
    weight: Tensor, x: Tensor, out: Tensor | None = None, max_kernel_rows: int = MAX_KERNEL_ROWS
) -> Tensor:
    """x · weightᵀ in float32.

    Args:
        weight: [N, K], for which `kernel_fits` holds.
        x: [M, K] contiguous, same dtype.
        out: [M, N] float32, where the result goes; None makes one. Fresh memory is slow to touch.
        max_kernel_rows: more rows than this go through torch, where there are no tiles.

    Returns:
        out.
    """
    if out is None:
        out = torch.empty(len(x), len(weight), dtype=torch.float32)
    num_threads = 1 if weight.numel() < MIN_PARALLEL_WEIGHT else torch.get_num_threads()
    operands = as_array(weight), as_array(x), out.numpy()
    if tiles.HAVE_TILES and x.dtype == torch.bfloat16:
        tiles.matmul(*operands, num_threads)
    elif len(x) > max_kernel_rows:
        out.copy_(nn.functional.linear(x, weight))
    elif num_threads == 1:
        kernels.matmul_serial(*operands)
    else:
        kernels.matmul(*operands, num_threads)
    return out


class RowLinear(nn.Linear):
    """An `nn.Linear` whose product takes the fast way where there is one. Made by `speed_up`."""

    max_kernel_rows: int

    def forward(self, x: Tensor) -> Tensor:
        """[…, K] → […, N]."""
        rows = x.numel() // x.shape[-1]
        tiled = tiles.HAVE_TILES and x.dtype == torch.bfloat16
        few = rows <= self.max_kernel_rows
        if not rows or not (few or tiled) or x.dtype != self.weight.dtype:
            return super().forward(x)
        flat = product(self.weight, x.reshape(rows, -1).contiguous(), None, self.max_kernel_rows)
        flat = flat.to(x.dtype)
        if self.bias is not None:
            flat += self.bias
        return flat.view(*x.shape[:-1], -1)


def speed_up(model: nn.Module, max_kernel_rows: int = MAX_KERNEL_ROWS) -> None:
    """Turn every linear layer that the kernel can read into a `RowLinear`, in place.

    The model can then no longer be trained: the kernel knows no gradients.
    """
    model.requires_grad_(False)
    for module in model.modules():
        if type(module) is nn.Linear and kernel_fits(module.weight):
            module.__class__ = RowLinear
            module.max_kernel_rows = max_kernel_rows  # type: ignore[assignment]
