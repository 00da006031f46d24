"""What a measurement was taken on, to be kept beside its figures."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("fairdraft", "torch", "transformers", "numba", "numpy")


def machine() -> dict[str, Any]:
    """Return what can be said of this machine without loading torch.

    Returns:
        `cpu` (model name) and `cores` (that this process may use).
    """
    return {"cpu": _cpu_model(), "cores": _cores()}


def benchmark_environment() -> dict[str, Any]:
    """Machine, versions and moment of a measurement.

    Returns:
        `cpu` (model name), `cores` (that this process may use), `threads` (that torch uses),
        `memory_gib`, `gpu` (name or None), `platform`, `python`, one version per package,
        `git_commit` of the checkout fairdraft runs from (with "-dirty" if changed; None outside
        one) and `date` (UTC, ISO 8601).
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


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


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
