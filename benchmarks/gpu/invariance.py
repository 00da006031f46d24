"""Which of torch's bfloat16 ways give a row the same bits in any company, and what that costs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks.gpu.models import tiny_model
from benchmarks.gpu.sections import Report, Setting, copy_rate, milliseconds
from fairdraft.kv import KVStorage, LayerShape
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.models.invariance import largest_difference
from fairdraft.models.padded_attention import PaddedAttention

ROWS = (1, 2, 3, 4, 5, 7, 8, 12, 15, 16, 17, 24, 31, 32, 33, 40, 48, 63, 64)
BLOCK = 16
# [N, K] of an 8B llama's products.
SHAPES = {
    "qkv": (6144, 4096),
    "output": (4096, 4096),
    "gate and up": (28672, 4096),
    "down": (4096, 14336),
    "vocabulary": (128256, 4096),
}
Product = Callable[[Tensor, Tensor], Tensor]


def padded_to(tile: int) -> Product:
    """Return a product that always runs so many rows: one shape, so one kernel for all."""

    def product(x: Tensor, weight: Tensor) -> Tensor:
        pieces = []
        for piece in torch.split(x, tile):
            whole = piece
            if len(piece) < tile:
                whole = piece.new_zeros(tile, piece.shape[1])
                whole[: len(piece)] = piece
            pieces.append(nn.functional.linear(whole, weight)[: len(piece)])
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    return product


class PaddedLinear(nn.Linear):
    """An `nn.Linear` that runs 64 rows at a time, padded."""

    def forward(self, x: Tensor) -> Tensor:
        """[…, K] → […, N]."""
        flat = padded_to(64)(x.reshape(-1, x.shape[-1]), self.weight)
        if self.bias is not None:
            flat = flat + self.bias
        return flat.view(*x.shape[:-1], -1)


PRODUCTS: dict[str, Product] = {
    "torch": nn.functional.linear,
    "padded to 16": padded_to(16),
    "padded to 64": padded_to(64),
    "padded to 128": padded_to(128),
}


@contextmanager
def _exact_sums(library: str | None) -> Iterator[None]:
    """No split sums in bfloat16, and a library of products, while in the block."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    chosen = torch.backends.cuda.preferred_blas_library() if torch.cuda.is_available() else None
    matmul.allow_bf16_reduced_precision_reduction = False
    if library is not None and chosen is not None:
        torch.backends.cuda.preferred_blas_library(library)
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before
        if chosen is not None:
            torch.backends.cuda.preferred_blas_library(chosen)


@torch.inference_mode()
def invariance(setting: Setting, found: Report) -> None:
    """Compare bits over row counts and places, product by product, then of a whole model."""
    found["left_out"] = []
    found["copy_bytes_per_second"] = copy_rate(setting.device, 2**24 if setting.tiny else 2**32)
    found["rows_wise"] = [_row_wise(setting, name) for name in ("mean of squares", "softmax")]
    found["attention"] = [_attention(setting, dtype) for dtype in (torch.bfloat16, torch.float32)]
    found["models"] = _models(setting)
    found["products"] = []
    shapes = {"tiny": (96, 64)} if setting.tiny else SHAPES
    for library in (None, "cublaslt"):
        with _exact_sums(library):
            for name, (wide, deep) in shapes.items():
                if setting.left < 0:
                    found["left_out"].append(f"{name}, {library}")
                    continue
                found["products"] += _products(setting, name, wide, deep, library)


def _products(
    setting: Setting, name: str, wide: int, deep: int, library: str | None
) -> list[Report]:
    """Check and time every way of one product."""
    torch.manual_seed(0)
    # Several weights in turn: one alone might lie in the cache.
    count = 1 if setting.tiny else max(1, 2**28 // (2 * wide * deep))
    weights = [
        torch.randn(wide, deep, device=setting.device).bfloat16() / deep**0.5 for _ in range(count)
    ]
    x = torch.randn(ROWS[-1], deep, device=setting.device).bfloat16()
    rows = []
    for way, product in PRODUCTS.items():
        different = _different_rows(partial(_swapped, product, weights[0]), x)
        spent = {}
        for num_rows in (1, 5, 40, 64):
            part = x[:num_rows].contiguous()

            def every(part: Tensor = part, product: Product = product) -> None:
                for weight in weights:
                    product(part, weight)

            spent[num_rows] = round(milliseconds(setting.device, every, 10) / count, 4)
        rows.append(
            {
                "product": name,
                "way": way,
                "library": library or "default",
                "different_at_rows": different,
                "milliseconds": spent,
                "weight_mb": round(2 * wide * deep / 1e6, 1),
            }
        )
    return rows


def _swapped(product: Product, weight: Tensor, x: Tensor) -> Tensor:
    return product(x, weight)


def _different_rows(way: Callable[[Tensor], Tensor], x: Tensor) -> list[int]:
    """Return the row counts at which some row, first, middle or last, has other bits than in 64."""
    whole = way(x)
    different = []
    for count in ROWS[:-1]:
        for first in {0, (len(x) - count) // 2, len(x) - count}:
            part = way(x[first : first + count].contiguous())
            if not torch.equal(part, whole[first : first + count]):
                different.append(count)
                break
    return different


def _row_wise(setting: Setting, name: str) -> Report:
    """Check what stands between products: torch's sums along a row."""
    torch.manual_seed(0)
    x = torch.randn(ROWS[-1], 64 if setting.tiny else 4096, device=setting.device)
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "mean of squares": lambda part: part.pow(2).mean(-1, keepdim=True),
        "softmax": lambda part: part.softmax(-1),
    }
    return {"operator": name, "different_at_rows": _different_rows(ways[name], x)}


def _attention(setting: Setting, dtype: torch.dtype) -> Report:
    """Check a request's rows alone, then some of them, then beside longer requests."""
    device, dim, kv_heads, heads = setting.device, 64, 2, 8
    longest = 200 if setting.tiny else 4000
    blocks = -(-longest // BLOCK) + 1
    kept = KVStorage([LayerShape(kv_heads, dim, dim)], 3 * blocks * BLOCK, dtype, device)
    torch.manual_seed(0)
    kept.keys[0].normal_()
    kept.values[0].normal_()
    queries = torch.randn(5, heads, dim, device=device).to(dtype)
    tables = [range(i * blocks, (i + 1) * blocks) for i in range(3)]

    def read(rows: list[int], contexts: list[int]) -> Tensor:
        batch = FlatBatch.of([[0] * n for n in rows], contexts, tables[: len(rows)], BLOCK, device)
        others = torch.randn(sum(rows) - rows[0], heads, dim, device=device).to(dtype)
        own = torch.cat([queries[: rows[0]], others])
        return PaddedAttention(kept, batch).attend(0, own, dim**-0.5, None)[: rows[0]]

    context = longest // 3
    alone = read([5], [context])
    return {
        "dtype": str(dtype),
        "one row of five": torch.equal(read([1], [context]), alone[:1]),
        "three rows of five": torch.equal(read([3], [context]), alone[:3]),
        "beside shorter": torch.equal(read([5, 1, 2], [context, 9, 30]), alone),
        "beside longer": torch.equal(read([5, 1, 8], [context, longest - 20, 17]), alone),
    }


def _models(setting: Setting) -> list[Report]:
    """Check and time a random model, its products torch's own and padded to 64 rows."""
    found = []
    for padded in (False, True):
        model = _two_layers(setting)
        if padded:
            for module in model.modules():
                if type(module) is nn.Linear:
                    module.__class__ = PaddedLinear
        runner = ModelRunner(model)
        gap, cut = largest_difference(runner)
        runner.allocate(1024, BLOCK)
        runner.graphs = None
        spent = {}
        for rows in (1, 5, 64) if setting.tiny else (1, 5, 64, 512):
            table = range(-(-rows // BLOCK))
            batch = FlatBatch.of([[7] * rows], [0], [table], BLOCK, setting.device, logit_rows=[0])
            spent[rows] = milliseconds(setting.device, partial(runner.run, batch), 5)
        found.append(
            {"padded": padded, "largest_difference": gap, "cut": list(cut), "milliseconds": spent}
        )
        del runner, model
        gc.collect()
    return found


def _two_layers(setting: Setting) -> Any:
    """Return two layers of an 8B llama, random, with a small vocabulary."""
    if setting.tiny:
        return tiny_model("llama", setting.device, torch.bfloat16)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=2,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=False,
    )
    with torch.device(setting.device):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
