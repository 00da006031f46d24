"""The layout changes no value, and gives each row a line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fairdraft.bench.layout import row_per_line

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=40
)


@given(values)
def test_nothing_is_lost(value: Any) -> None:
    assert json.loads(row_per_line(value)) == value


def test_a_row_is_a_line_and_a_list_of_numbers_too() -> None:
    report = {"rows": [{"k": k, "seconds": [0.5] * 40} for k in range(7)], "samples": [1.5] * 400}
    lines = row_per_line(report).split("\n")
    assert len(lines) == 1 + 1 + 7 + 1 + 1 + 1
    assert all(f'"k": {k}' in line for k, line in enumerate(lines[2:9]))
