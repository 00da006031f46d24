"""What verbs write: files, tried before the work starts, and sentences folded at words."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairdraft.errors import ConfigError


def require_writable(path: Path) -> None:
    """Open a file for writing, now and not after minutes of work; leave it as it was.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        existed = path.exists()
        with path.open("ab"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{str(path)!r} cannot be written ({why}): name a file in an existing folder that you "
            "may write to"
        ) from None
    if not existed:
        path.unlink()


def fold(sentence: str, width: int, indent: int = 0) -> str:
    """Return a sentence in lines of that width, broken at spaces alone.

    Args:
        sentence: without line breaks.
        width: columns.
        indent: spaces before the first line; the others get two more.
    """
    return textwrap.fill(
        sentence,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, with a line break at its end."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
