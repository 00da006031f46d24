"""Results that are kept: summaries that a diff can show, raw samples, parts of long runs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.constants import RAW, RESULTS
from fairdraft.bench.layout import row_per_line
from fairdraft.telemetry.environment import benchmark_environment

Report = dict[str, Any]


def kept(work: Path, name: str, compute: Callable[[], Any]) -> Any:
    """Return a part of a run: from the last time if it got that far, else computed and kept."""
    path = work / f"{name}.json"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        print(f"{name} ...", flush=True)
        scratch = path.with_suffix(".partial")
        scratch.write_text(json.dumps(compute()))
        scratch.rename(path)
    return json.loads(path.read_text())


def write_result(name: str, summary: Report, raw: Report | None = None) -> None:
    """Keep a result, with where and on what it was measured.

    Args:
        name: of the files.
        summary: what the tables are made of, a row a line; under 300 lines.
        raw: every sample, kept compressed in `raw/`.
    """
    whole = {"environment": benchmark_environment(), **summary}
    write_summary(name, whole)
    if raw is not None:
        write_raw(name, raw)


def write_summary(name: str, summary: Report) -> None:
    """Write a summary as it is."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(row_per_line(summary) + "\n")


def write_raw(name: str, raw: Report) -> None:
    """Write raw samples; the same samples always make the same file."""
    RAW.mkdir(parents=True, exist_ok=True)
    (RAW / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(raw).encode(), mtime=0))


def read_summary(name: str) -> Report:
    """Return the summary of a result."""
    found: Report = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def read_raw(name: str) -> Report:
    """Return the raw samples of a result."""
    found: Report = json.loads(gzip.decompress((RAW / f"{name}.json.gz").read_bytes()))
    return found


def split_rows(rows: list[Report], *names: str) -> tuple[list[Report], list[Report]]:
    """Part rows into what is summarised and their samples, which lie under these keys."""
    summaries = [{key: row[key] for key in row if key not in names} for row in rows]
    return summaries, [{key: row[key] for key in names if key in row} for row in rows]
