"""Runs of an engine at several draft lengths and loads, gathered from files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairdraft.economics.costs.step_costs import SWEPT, draft_length
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read_all


def sweep_runs(paths: Sequence[Path], method: str | None) -> tuple[list[Reading], str]:
    """Read the runs of a sweep, and find out who drafts in them.

    Args:
        paths: files, and folders of `vllm bench sweep serve` or of files.
        method: who drafts; of fairdraft's own files, only its cells are taken.

    Returns:
        Runs of one method and of none, and the method: `SWEPT` where nobody says.

    Raises:
        ReadingError: a file is unreadable, or two methods are mixed.
    """
    runs = [run for path in paths for run in _runs(path)]
    methods = {run.method for run in runs if run.method and run.speculates}
    if method is None and len(methods) > 1:
        raise ReadingError(
            f"the sweep has several drafters ({', '.join(sorted(methods))}): choose one with "
            "--method"
        )
    if methods:
        method = method or methods.pop()
        runs = [run for run in runs if not run.speculates or run.method in ("", method)]
    return runs, method or SWEPT


def longest_acceptance(runs: Sequence[Reading]) -> Acceptance:
    """Return the acceptance of a sweep's longest drafts, all loads together.

    Raises:
        ConfigError: none of the longest drafted anything.
    """
    longest = max(draft_length(run) for run in runs)
    drafted = [run for run in runs if draft_length(run) == longest and run.speculates]
    return Acceptance.of(*drafted)


def _runs(path: Path) -> list[Reading]:
    """Read a file, the folder of a `vllm bench sweep`, or a folder of files."""
    if path.is_dir() and not [*path.glob("run=*.json"), *path.glob("*/run=*.json")]:
        files = sorted(path.glob("*.json"))
        if not files:
            raise ReadingError(f"the sweep {str(path)!r} is empty: it holds no .json file")
        return [run for file in files for run in read_all(file)]
    return read_all(path)
