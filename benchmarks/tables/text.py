"""A table and a machine as the pages show them."""

from __future__ import annotations

from typing import Any


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a table whose columns but the first are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(environment: dict[str, Any]) -> str:
    """Return what a measurement was taken on: processor, versions, commit and day."""
    return (
        f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gib']} GiB; "
        f"torch {environment['torch']}, transformers {environment['transformers']}, "
        f"numba {environment['numba']}; commit {environment['git_commit'][:10]}, "
        f"{environment['date'][:10]}."
    )
