"""What several exercises share: where things are, the measured profile, the labs, and a table."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from fairdraft.economics.costs.profile import Profile

HERE = Path(__file__).parent
LABS = HERE.parent / "labs"
ROOT = HERE.parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.append(str(ROOT))  # for benchmarks and scripts, which are not installed

from scripts.by_path import load_file  # noqa: E402


def result(name: str) -> dict[str, Any]:
    """Return a measured result of `benchmarks/results`, by name without ".json"."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return found


def measured_profile() -> Profile:
    """Return the profile of the demo model that docs/pricing.md reckons with."""
    packed = (RESULTS / "raw" / "profile.json.gz").read_bytes()
    return Profile.of(json.loads(gzip.decompress(packed)))


def machine(environment: Mapping[str, Any]) -> str:
    """Name the machine and the day of a measurement."""
    return "{cpu}, {cores} cores, {date:.10}".format(**environment)


def load_lab(name: str) -> ModuleType:
    """Load a lab's solution as the lab's own tests do.

    Args:
        name: how the lab's folder begins, such as "lab-01".
    """
    loader = load_file(LABS / "conftest.py")
    (folder,) = LABS.glob(f"{name}-*")
    lab: ModuleType = loader.load_lab(folder, "solution")
    return lab


def show(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> None:
    """Print a table.

    Args:
        header: names of the columns.
        rows: as many cells each.
        left: so many columns stand on the left, the others on the right.
    """
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
