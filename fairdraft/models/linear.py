"""Products with weights that stay where the checkpoint put them.

Few rows on CPU go through `kernels.matmul`, which runs at memory bandwidth; many rows, other
devices and odd shapes through torch. Nothing is packed or copied, so tied weights stay tied.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fairdraft.models import kernels

MAX_KERNEL_ROWS = 16  # measured: from about here on torch's blocked product is faster
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


def product(weight: Tensor, x: Tensor) -> Tensor:
    """x · weightᵀ in float32.

    Args:
        weight: [N, K], for which `kernel_fits` holds.
        x: [M, K] contiguous, same dtype.

    Returns:
        [M, N] float32.
    """
    if len(x) > MAX_KERNEL_ROWS:
        return nn.functional.linear(x, weight).float()
    out = torch.empty(len(x), len(weight), dtype=torch.float32)
    if weight.numel() < MIN_PARALLEL_WEIGHT:
        kernels.matmul_serial(as_array(weight), as_array(x), out.numpy())
    else:
        kernels.matmul(as_array(weight), as_array(x), out.numpy(), torch.get_num_threads())
    return out


class RowLinear(nn.Linear):
    """An `nn.Linear` whose product of few rows takes the fast way. Made by `speed_up`."""

    def forward(self, x: Tensor) -> Tensor:
        """[…, K] → […, N]."""
        rows = x.numel() // x.shape[-1]
        if not 0 < rows <= MAX_KERNEL_ROWS or x.dtype != self.weight.dtype:
            return super().forward(x)
        flat = product(self.weight, x.reshape(rows, -1).contiguous()).to(x.dtype)
        if self.bias is not None:
            flat += self.bias
        return flat.view(*x.shape[:-1], -1)


def speed_up(model: nn.Module) -> None:
    """Turn every linear layer that the kernel can read into a `RowLinear`, in place.

    The model can then no longer be trained: the kernel knows no gradients.
    """
    model.requires_grad_(False)
    for module in model.modules():
        if type(module) is nn.Linear and kernel_fits(module.weight):
            module.__class__ = RowLinear
