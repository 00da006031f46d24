"""What a measurement was taken on, to be kept beside its figures."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# Of a processor's flags, by what the kernels make of them; the first that is there says it all.
EXTENSIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 BF16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}
PACKAGES = ("fairdraft", "torch", "transformers", "numba", "numpy")


def machine() -> dict[str, Any]:
    """Return what can be said of this machine without loading torch.

    Returns:
        `cpu` (model name and, on x86, the widest vectors it has) and `cores` (that this process
        may use).
    """
    return {"cpu": _cpu(), "cores": _cores()}


def benchmark_environment() -> dict[str, Any]:
    """Machine, versions and moment of a measurement.

    Returns:
        `cpu` and `cores` (as `machine` says them), `threads` (that torch uses), `memory_gib`,
        `gpu` (name or None), `platform`, `python`, one version per package, `git_commit` of the
        checkout fairdraft runs from (with "-dirty" if changed; None outside one) and `date` (UTC,
        ISO 8601).
    """
    import torch

    return {
        **machine(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    """Return a processor's name and vectors: one name stands for several generations."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    fields = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    name = fields.get("model name", platform.processor())
    flags = fields.get("flags", "").split()
    widest = next((vectors for flag, vectors in EXTENSIONS.items() if flag in flags), None)
    return f"{name} ({widest})" if widest else name


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):  # not POSIX
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    package = Path(__file__).parent.parent / "__init__.py"
    # An installed copy may lie inside somebody else's repository, ignored by it.
    if _git(package.parent, "ls-files", package.name) is None:
        return None
    return _git(package.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *args: str) -> str | None:
    """What git prints; None if that is nothing, or there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None
