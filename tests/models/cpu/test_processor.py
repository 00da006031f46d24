"""The table of paths, and each lesser path run for real where numba is told to compile for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairdraft.models.cpu.processor import PATH, PATHS, choose_path, compiled_features

_BELOW = {"four lanes": "", "AVX2": "avx2,fma,f16c", "AVX-512": None, "AVX-512 BF16": None}
_BASE = ("sse", "sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "cx16", "popcnt")


def test_the_best_path_that_fits_is_taken() -> None:
    for path in PATHS:
        assert choose_path(path.needs, tiles_allowed=True) is path
    amx = PATHS[0].needs
    assert choose_path(amx, tiles_allowed=False).name == "AVX-512 BF16"


def test_this_process_runs_what_it_compiles_for() -> None:
    assert PATH.needs <= compiled_features()


def lesser_features() -> list[tuple[str, str]]:
    """Names of the paths below this machine's, and the features that lead to them."""
    here = compiled_features()
    lesser = [p for p in PATHS[PATHS.index(PATH) + 1 :] if p.needs <= here]
    above = {p: set().union(*(q.needs for q in PATHS[: PATHS.index(p)])) - p.needs for p in lesser}
    return [
        (p.name, ",".join(f"+{f}" for f in sorted(here - above[p])))
        for p in lesser
        if choose_path(frozenset(here - above[p]), tiles_allowed=False) is p
    ]


@pytest.mark.parametrize(("name", "features"), lesser_features())
def test_lesser_paths_are_as_exact(name: str, features: str, tmp_path: Path) -> None:
    told = {"NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    told["NUMBA_CPU_NAME"] = "x86-64" if name == "four lanes" else "x86-64-v3"
    program = (
        "import torch\n"
        "from fairdraft.models.cpu.processor import PATH\n"
        "from fairdraft.models.cpu.linear import product\n"
        f"assert PATH.name == {name!r}, PATH\n"
        "w, x = torch.randn(50, 100).bfloat16(), torch.randn(9, 100).bfloat16()\n"
        "together = product(w, x)\n"
        "exact = x.double() @ w.double().T\n"
        "torch.testing.assert_close(together.double(), exact, atol=1e-4, rtol=1e-4)\n"
        "assert torch.equal(product(w, x[3:4].contiguous()), together[3:4])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **told})
