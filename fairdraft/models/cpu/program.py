"""Kernel calls that are laid out once and run many times, one after the other, without Python.

Between two products stand kernels of a few microseconds. Python needs as long to call each, and
threads that wait meanwhile go to sleep. A `Program` therefore keeps its calls and their memory from
run to run: what changes, the number of rows, is written into all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fairdraft.kv import KVStorage
from fairdraft.models.cpu import threads

ALL = 1 << 62  # rows: pieces take all of them
KEYS = 1  # the argument where a call that reads or writes KV has its keys; its values come next


@dataclass(frozen=True)
class Call:
    """A kernel's work on rows, ready but for their number.

    Args:
        kernel: takes the number of rows as its first argument.
        arguments: the others.
        shares: pieces of each `rows`, in which the kernel splits what is not rows.
        rows: that a piece takes.
        held: arrays that the arguments point to.
    """

    kernel: threads.Kernel
    arguments: Sequence[int]
    shares: int = 1
    rows: int = ALL
    held: tuple[Any, ...] = ()

    def run(self, rows: int) -> None:
        """Do the work alone, on so many rows."""
        arguments = np.array([rows, *self.arguments], np.int64)
        threads.run(self.kernel, arguments, self.shares * -(-rows // self.rows))


class Program:
    """Calls in their order, and the memory they work in.

    Args:
        capacity: rows that its memory has room for.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._calls: list[Call] = []
        self._layers: list[tuple[int, int]] = []  # calls that read or write KV, and whose
        self._memory: list[Tensor] = []
        self._scratch: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def array(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return memory for rows [capacity, …shape]."""
        with torch.inference_mode(False):  # or only inference mode might write to it
            self._memory.append(torch.empty(self.capacity, *shape, dtype=dtype))
        return self._memory[-1]

    def scratch(self, size: int) -> int:
        """Return the address of `size` bytes that every call may overwrite."""
        if size not in self._scratch:
            self._scratch[size] = torch.empty(size, dtype=torch.uint8)
        return self._scratch[size].data_ptr()

    def append(self, call: Call, layer: int | None = None) -> int:
        """Add a call; with a layer, one that takes this layer's KV. Returns its place."""
        place = len(self._calls)
        self._calls.append(call)
        if layer is not None:
            self._layers.append((place, layer))
        return place

    def finish(self) -> None:
        """Lay the calls out; none is added any more."""
        width = 1 + max(len(call.arguments) for call in self._calls)
        self._arguments = np.zeros((len(self._calls), width), np.int64)
        self._table = np.zeros((len(self._calls), 3), np.int64)  # as `threads.run_all` takes it
        for arguments, row, call in zip(self._arguments, self._table, self._calls, strict=True):
            arguments[1 : 1 + len(call.arguments)] = call.arguments
            row[:2] = call.kernel.address, arguments.ctypes.data
        self._shares = np.array([call.shares for call in self._calls], np.int64)
        self._rows = np.array([call.rows for call in self._calls], np.int64)
        self._places, self._owners = np.array(self._layers, np.int64).reshape(-1, 2).T

    def replace(
        self, places: Sequence[int], first: int, arguments: npt.NDArray[np.int64], shares: int
    ) -> None:
        """Give calls other arguments, from number `first` on, and another number of shares."""
        self._arguments[places, first : first + len(arguments)] = arguments
        self._shares[places] = shares

    def prepare(self, rows: int, storage: KVStorage) -> None:
        """Set how many rows run, and over which KV."""
        self._arguments[:, 0] = rows
        self._arguments[self._places, KEYS : KEYS + 2] = storage.addresses[self._owners]
        self._table[:, 2] = self._shares * -(-rows // self._rows)

    def run(self, first: int, last: int) -> None:
        """Run calls first … last − 1."""
        threads.run_all(self._table[first:last])
