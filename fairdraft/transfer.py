"""Sends a step's numbers to the device that a model runs on, in one copy.

Every copy from memory that is not pinned waits for the device; a step that makes a dozen of them
waits a dozen times. Here they go as one block, from pinned memory, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Numbers = Sequence[int] | npt.NDArray[np.int64]


def send(
    device: torch.device, *columns: Numbers, floats: Sequence[Sequence[float]] = ()
) -> list[Tensor]:
    """Return a tensor [n] of each column's n numbers, on the device: views of one block.

    Args:
        device: where they go.
        columns: whole numbers, which come back as int64.
        floats: more columns, which come back as float64, behind the others.
    """
    block = np.concatenate(
        [
            *(np.asarray(column, dtype=np.int64) for column in columns),
            *(np.asarray(column, dtype=np.float64).view(np.int64) for column in floats),
        ]
    )
    whole = torch.from_numpy(block)
    if device.type != "cpu":
        whole = whole.pin_memory().to(device, non_blocking=True)
    sizes = [len(column) for column in (*columns, *floats)]
    sent = list(torch.split(whole, sizes))
    for i in range(len(columns), len(sent)):
        sent[i] = sent[i].view(torch.float64)
    return sent
