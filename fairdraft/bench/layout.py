"""JSON that a diff can show: a row of a table on a line of its own."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 100  # characters up to which an object stays on one line


def row_per_line(value: Any) -> str:
    """Return a value as JSON text in which each item of a list of rows has one line.

    Lists of plain values and short objects stay on one line; longer objects have a line a key.
    """
    return _text(value, 0)


def _text(value: Any, depth: int) -> str:
    plain = json.dumps(value, ensure_ascii=False)
    indent = "\n" + " " * (depth + 1)
    if isinstance(value, dict) and len(plain) > WIDTH:
        parts = (
            f"{json.dumps(str(key), ensure_ascii=False)}: {_text(item, depth + 1)}"
            for key, item in value.items()
        )
        return "{" + indent + f",{indent}".join(parts) + indent[:-1] + "}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        rows = (json.dumps(item, ensure_ascii=False) for item in value)
        return "[" + indent + f",{indent}".join(rows) + indent[:-1] + "]"
    return plain
