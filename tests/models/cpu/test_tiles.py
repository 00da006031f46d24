"""Products on tiles against plain ones, at every raggedness."""

import numpy as np
import pytest
import torch

from fairdraft.models.cpu import tiles

needs_tiles = pytest.mark.skipif(not tiles.HAVE_TILES, reason="this processor has no bf16 tiles")

SHAPES = [(960, 576), (49, 64), (16, 32), (7, 96), (1000, 1536)]


def _product(weight: torch.Tensor, x: torch.Tensor, num_threads: int) -> torch.Tensor:
    out = torch.full((len(x), len(weight)), torch.nan)
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    addresses = weight.data_ptr(), x.data_ptr(), out.data_ptr()
    n, k = weight.shape
    inputs = np.empty(tiles.input_bytes(k, len(x)), np.uint8)
    for call in tiles.product_calls(*addresses, n, k, inputs.ctypes.data):
        call.run(len(x))
    torch.set_num_threads(before)
    return out


@needs_tiles
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_equals_the_plain_product(shape: tuple[int, int], rows: int, num_threads: int) -> None:
    torch.manual_seed(rows)
    weight, x = torch.randn(shape).bfloat16(), torch.randn(rows, shape[1]).bfloat16()
    expected = x.double() @ weight.double().T
    assert torch.allclose(_product(weight, x, num_threads).double(), expected, rtol=1e-4, atol=1e-3)


@needs_tiles
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_the_same_bits_in_any_company(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(shape).bfloat16(), torch.randn(130, shape[1]).bfloat16()
    together = _product(weight, x, 2)
    for first, last in [(0, 1), (129, 130), (5, 8), (60, 77), (3, 100)]:
        alone = _product(weight, x[first:last].contiguous(), 1)
        assert np.array_equal(alone.numpy(), together[first:last].numpy())


@pytest.mark.parametrize("rows", [1, 15, 16, 40])
def test_activations_lie_as_pairs_in_tiles(rows: int) -> None:
    x = np.arange(rows * 64, dtype=np.uint16).reshape(rows, 64)
    inputs = np.ones(tiles.input_bytes(64, rows) // 2, np.uint16).reshape(-1, 2, 16, 16, 2)
    relay, _ = tiles.product_calls(0, x.ctypes.data, 0, 32, 64, inputs.ctypes.data)
    relay.run(rows)
    padded = np.zeros((16 * len(inputs), 64), np.uint16)
    padded[:rows] = x
    assert (inputs == padded.reshape(-1, 16, 2, 16, 2).transpose(0, 2, 3, 1, 4)).all()
