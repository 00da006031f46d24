"""Calls laid out once: in their order, on as many rows as a run has, over the KV of that run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fairdraft.compiled import array_at
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models.cpu.program import Call, Program
from fairdraft.models.cpu.rowwise import ROWS, add_bias
from fairdraft.models.cpu.threads import Kernel

STORAGE = KVStorage([], 1, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("rows", [1, ROWS, 3 * ROWS + 2, 4 * ROWS])
def test_calls_run_on_the_rows_there_are(rows: int) -> None:
    program = Program(4 * ROWS)
    x = program.array(5).zero_()
    for value in range(1, 4):
        program.append(add_bias(x.numpy(), np.full(5, value, np.float32)))
    program.finish()
    program.prepare(rows, STORAGE)
    program.run(0, 2)
    assert (x[:rows] == 3).all()
    program.run(2, len(program))
    assert (x[:rows] == 6).all()
    assert not x[rows:].any()


def _tell(a, number):  # type: ignore[no-untyped-def]
    """Write what a call was told: its rows, keys, values, and one number of its own."""
    told = array_at(a[3], (5,), np.int64)
    for i in range(5):
        told[i] = a[i] if i < 3 else a[i + 1 - number]


TELL = Kernel(_tell)


def test_a_call_takes_the_kv_of_its_layer_and_what_replaces_its_arguments() -> None:
    layers = [LayerShape(1, 4, 4), LayerShape(1, 4, 4)]
    storages = [KVStorage(layers, 8, torch.float32, torch.device("cpu")) for _ in range(2)]
    program = Program(6)
    told = np.zeros((2, 5), np.int64)
    places = [
        program.append(Call(TELL, [0, 0, row.ctypes.data, 7, 8], shares=i), layer=i)
        for i, row in enumerate(told)
    ]
    program.finish()
    for rows, storage in enumerate(storages, 1):
        program.prepare(rows, storage)
        program.run(0, 2)
        assert not told[0].any()  # no share, no work
        keys, values = storage.keys[1].data_ptr(), storage.values[1].data_ptr()
        assert told[1].tolist() == [rows, keys, values, 7, 8]
    program.replace(places, 4, np.array([70, 80]), 1)
    program.prepare(3, storages[0])
    program.run(0, 2)
    assert [row[3:].tolist() for row in told] == [[70, 80]] * 2
