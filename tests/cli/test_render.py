"""Tables fold to the terminal's width, and no number is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fairdraft.cli.render import folded

NAMES = ["k", "plain", "1", "2"]
COLUMNS = [[f"{n} requests", f"{n}000.0", f"{n}100.0", f"{n}200.0"] for n in (1, 2, 4, 8, 16, 32)]


@pytest.mark.parametrize(("width", "parts"), [(120, 1), (80, 2), (30, 6), (5, 6)])
def test_a_table_folds(width: int, parts: int) -> None:
    assert len(folded(NAMES, COLUMNS, width)) == parts


@pytest.mark.parametrize("width", [120, 80, 60, 30])
def test_every_number_is_whole_in_lines_that_fit(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(*folded(NAMES, COLUMNS, width))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(cell in shown for column in COLUMNS for cell in column)
    assert max(map(len, shown.splitlines())) <= width
