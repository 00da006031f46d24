"""Which vector instructions the kernels use: one table, the best path first.

A path is chosen by the features that numba compiles for, so that a lesser one is had on any machine
by `NUMBA_CPU_FEATURES`; docs/kernels.md says how, and how to add a processor.
"""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass

from numba.core import config
from numba.core.codegen import get_host_cpu_features


@dataclass(frozen=True)
class VectorPath:
    """What the kernels are compiled for.

    Args:
        name: as in tables and logs.
        needs: the LLVM features without which it does not run.
        lanes: float32 numbers in a vector register.
        registers: how many vector registers there are.
        bf16_dot: one instruction multiplies pairs of bfloat16 numbers and adds up.
        tiles: products of bfloat16 go to AMX tiles.
    """

    name: str
    needs: frozenset[str]
    lanes: int
    registers: int
    bf16_dot: bool = False
    tiles: bool = False


_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})
_TILES = frozenset({"amx-tile", "amx-bf16"})
PATHS = (
    VectorPath("AMX", _AVX512 | {"avx512bf16"} | _TILES, 16, 32, bf16_dot=True, tiles=True),
    VectorPath("AVX-512 BF16", _AVX512 | {"avx512bf16"}, 16, 32, bf16_dot=True),
    VectorPath("AVX-512", _AVX512, 16, 32),
    VectorPath("AVX2", frozenset({"avx2", "fma", "f16c"}), 8, 16),
    VectorPath("NEON", frozenset({"neon"}), 4, 32),
    VectorPath("four lanes", frozenset(), 4, 16),
)


def compiled_features() -> frozenset[str]:
    """Return the LLVM features that numba compiles for: the host's, or those it was told."""
    told = config.CPU_FEATURES
    listed = get_host_cpu_features() if told is None else told
    return frozenset(f[1:] for f in listed.split(",") if f.startswith("+"))


def choose_path(features: frozenset[str], tiles_allowed: bool) -> VectorPath:
    """Return the best path for these features.

    Args:
        features: LLVM's names.
        tiles_allowed: whether the operating system lets this process use tiles.
    """
    usable = (p for p in PATHS if p.needs <= features and (tiles_allowed or not p.tiles))
    return next(usable)


def _tiles_allowed() -> bool:
    """Ask Linux for the use of tiles, whose state makes every thread's saved context larger."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18
    refused: int = ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data)
    return not refused


_FEATURES = compiled_features()
PATH = choose_path(_FEATURES, _TILES <= _FEATURES and _tiles_allowed())
