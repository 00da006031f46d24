"""Predicted and measured speedups of the controller's grid, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def static_cells(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return predicted and measured speedup of each static draft length that was predicted.

    Args:
        rows: of the live grid, each with `speedups` and, where predicted, `predicted` by setting.
    """
    return [
        {
            "method": row["method"],
            "streams": row["streams"],
            "workload": row["workload"],
            "setting": setting,
            "measured": row["speedups"][setting],
            "predicted": predicted,
        }
        for row in rows
        for setting, predicted in (row["predicted"] or {}).items()
    ]
