"""Whether torch's products give a row the same bits beside any other rows, and what padding costs.

A product is invariant where a row's result does not depend on how many rows are beside it, nor on
its place among them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from benchmarks.suites.gpu_clock import Deadline, milliseconds

MOST_ROWS = 64
SHAPES = ((4096, 4096), (14336, 4096))
TINY_SHAPES = ((64, 32),)
PADDED = (16, 64)
TIMED_ROWS = (1, 5, 16, 40)
COLD_BYTES = 1 << 28  # of weights taken in turn, so that none lies in a cache when it is read

Product = Callable[[Tensor, Tensor], Tensor]


def padded_product(multiple: int, x: Tensor, weight: Tensor) -> Tensor:
    """Return x · weightᵀ, computed with zero rows up to a multiple."""
    rows = len(x)
    return linear(pad(x, (0, 0, 0, -rows % multiple)), weight)[:rows]


def invariance(product: Product, x: Tensor, weight: Tensor) -> dict[str, Any]:
    """Say where a row's bits change with the number of rows.

    Returns:
        `invariant`; `other_row_counts`, those at which any row differs from its run alone;
        `first_row_changes`, the row counts at which the first row's bits differ from those of one
        row fewer; `largest_difference`, over the largest number.
    """
    alone = torch.cat([product(x[i : i + 1], weight) for i in range(len(x))])
    others, changes, before = [], [], alone[0]
    worst = 0.0
    for rows in range(1, len(x) + 1):
        found = product(x[:rows], weight)
        if not torch.equal(found, alone[:rows]):
            others.append(rows)
            worst = max(worst, float((found - alone[:rows]).abs().max()))
        if not torch.equal(found[0], before):
            changes.append(rows)
        before = found[0]
    return {
        "invariant": not others,
        "other_row_counts": others,
        "first_row_changes": changes,
        "largest_difference": worst / float(alone.abs().max()),
    }


def cost(product: Product, x: Tensor, weights: list[Tensor]) -> float:
    """Return the median milliseconds of one product, with weights that no cache holds."""

    def job() -> None:
        for weight in weights:
            product(x, weight)

    return milliseconds(job, x.device, 7) / len(weights)


@torch.inference_mode()
def products(device: torch.device, tiny: bool, deadline: Deadline) -> dict[str, Any]:
    """Run every shape, dtype and padding."""
    rows = []
    torch.manual_seed(0)
    ways: dict[str, Product] = {"as they come": linear}
    ways |= {f"padded to {m}": partial(padded_product, m) for m in PADDED}
    for shape in TINY_SHAPES if tiny else SHAPES:
        for dtype in (torch.bfloat16, torch.float32):
            if deadline.passed:
                break
            weight = torch.randn(*shape, device=device).to(dtype)
            x = torch.randn(MOST_ROWS, shape[1], device=device).to(dtype)
            copies = 1 if tiny else max(COLD_BYTES // (weight.numel() * weight.element_size()), 1)
            weights = [weight] + [weight.clone() for _ in range(copies)]
            for name, product in ways.items():
                rows.append(
                    {
                        "weight": list(shape),
                        "dtype": str(dtype).removeprefix("torch."),
                        "rows": name,
                        **invariance(product, x, weight),
                        "ms": {n: round(cost(product, x[:n], weights), 5) for n in TIMED_ROWS},
                    }
                )
    return {"products": rows}
