"""Products with weights that stay where the checkpoint put them, for torch tensors.

On CPU, bfloat16 goes through `tiles` where the processor has them, everything else through
`product`; other devices go through torch. Nothing is packed or copied, so tied
weights stay tied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fairdraft.models.cpu import product as products
from fairdraft.models.cpu import tiles
from fairdraft.models.cpu.program import Call, Program
from fairdraft.models.cpu.vectors import FORMATS

_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor's memory as numpy: bfloat16 as uint16 bits, float16 as int16 bits."""
    array: npt.NDArray[Any] = tensor.view(_BITS.get(tensor.dtype, tensor.dtype)).numpy()
    return array


def kernel_fits(weight: Tensor) -> bool:
    """Whether `product` can read this weight [N, K]."""
    return weight.device.type == "cpu" and weight.dtype in FORMATS and weight.is_contiguous()


def operand_dtype(weights: torch.dtype) -> torch.dtype:
    """The dtype in which a product takes its activations without converting them.

    float32, unless the processor multiplies pairs of bfloat16.
    """
    return weights if products.takes_pairs(FORMATS[weights]) else torch.float32


def product(weight: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """x · weightᵀ in float32; each row's bits are the same whatever rows are beside it.

    Args:
        weight: [N, K], for which `kernel_fits` holds.
        x: [M, K] contiguous; best in `operand_dtype(weight.dtype)`.
        out: [M, N] float32, where the result goes; None makes one. Fresh memory is slow to touch.

    Returns:
        out.
    """
    if out is None:
        out = torch.empty(len(x), len(weight), dtype=torch.float32)
    operand = operand_dtype(weight.dtype)
    if x.dtype != operand:
        x = x.to(operand)
    inputs = np.empty(_scratch_bytes(weight, len(x)), np.uint8)
    for call in _calls(weight, x, out, inputs.ctypes.data):
        call.run(len(x))
    return out


def append_product(program: Program, weight: Tensor, x: Tensor, out: Tensor) -> None:
    """Add `product` to a program.

    Args:
        program: the calls.
        weight: [N, K], for which `kernel_fits` holds.
        x: [capacity, …] in `operand_dtype`, K numbers a row.
        out: [capacity, N] float32.
    """
    scratch = program.scratch(_scratch_bytes(weight, program.capacity))
    for call in _calls(weight, x, out, scratch):
        program.append(call)


def _on_tiles(weight: Tensor) -> bool:
    bfloat16 = weight.dtype == torch.bfloat16
    return tiles.HAVE_TILES and bfloat16 and weight.shape[1] % tiles.DEPTH == 0


def _scratch_bytes(weight: Tensor, rows: int) -> int:
    """Return the bytes that a product of so many rows needs beside its operands."""
    return tiles.input_bytes(weight.shape[1], rows) if _on_tiles(weight) else 0


def _calls(weight: Tensor, x: Tensor, out: Tensor, scratch: int) -> list[Call]:
    addresses, (n, k) = (weight.data_ptr(), x.data_ptr(), out.data_ptr()), weight.shape
    if _on_tiles(weight):
        return tiles.product_calls(*addresses, n, k, scratch)
    return [products.product_call(FORMATS[weight.dtype], *addresses, n, k)]


class RowLinear(nn.Linear):
    """An `nn.Linear` whose product takes the fast way. Made by `speed_up`."""

    def forward(self, x: Tensor) -> Tensor:
        """[…, K] → […, N]."""
        rows = x.numel() // x.shape[-1]
        if not rows or x.dtype != self.weight.dtype:
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
