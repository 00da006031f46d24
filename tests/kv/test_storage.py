"""Keys and values lie where they were written, also after a move over themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fairdraft.kv.storage import KVStorage, LayerShape

untimed = settings(deadline=None)
LAYERS = (LayerShape(2, 3, 5), LayerShape(1, 4, 4, sliding_window=8))
NUM_SLOTS = 10


def filled() -> KVStorage:
    """Every slot of every layer holds numbers that tell it from all others."""
    storage = KVStorage(LAYERS, NUM_SLOTS, torch.float32, torch.device("cpu"))
    for place, tensor in enumerate((*storage.keys, *storage.values)):
        tensor += torch.arange(tensor.numel()).view_as(tensor) + 1000 * (place + 1)
    return storage


def rows(storage: KVStorage) -> list[list[Tensor]]:
    return [list(tensor.clone()) for tensor in (*storage.keys, *storage.values)]


def test_shapes_and_zeros() -> None:
    storage = KVStorage(LAYERS, NUM_SLOTS, torch.bfloat16, torch.device("cpu"))
    assert [tuple(key.shape) for key in storage.keys] == [(10, 2, 3), (10, 1, 4)]
    assert [tuple(value.shape) for value in storage.values] == [(10, 2, 5), (10, 1, 4)]
    for tensor in (*storage.keys, *storage.values):
        assert tensor.dtype == torch.bfloat16
        assert not tensor.any()
    assert [layer.numel for layer in LAYERS] == [16, 8]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ([1, 2, 3, 4], [2, 3, 4, 5]),
        ([2, 3, 4, 5], [1, 2, 3, 4]),
        ([0, 9], [9, 0]),
        ([3, 4, 5], [5, 3, 4]),
        ([], []),
    ],
)
def test_an_overlapping_move_reads_before_it_writes(source: list[int], target: list[int]) -> None:
    storage = filled()
    before = rows(storage)
    storage.move(torch.tensor(source, dtype=torch.int64), torch.tensor(target, dtype=torch.int64))
    origin = {**{slot: slot for slot in range(NUM_SLOTS)}, **dict(zip(target, source, strict=True))}
    for old, new in zip(before, rows(storage), strict=True):
        for slot in range(NUM_SLOTS):
            assert torch.equal(new[slot], old[origin[slot]])


@untimed
@given(
    source=st.lists(st.integers(0, NUM_SLOTS - 1), max_size=NUM_SLOTS),
    order=st.permutations(range(NUM_SLOTS)),
)
def test_any_move_is_a_copy_from_a_snapshot(source: list[int], order: list[int]) -> None:
    storage = filled()
    before = rows(storage)
    target = order[: len(source)]
    storage.move(torch.tensor(source, dtype=torch.int64), torch.tensor(target, dtype=torch.int64))
    for old, new in zip(before, rows(storage), strict=True):
        for slot in range(NUM_SLOTS):
            origin = source[target.index(slot)] if slot in target else slot
            assert torch.equal(new[slot], old[origin])
