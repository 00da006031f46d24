"""Files that the verbs write."""

from __future__ import annotations

import os
from pathlib import Path

from fairdraft.config import require


def require_writable(path: Path) -> None:
    """Raise `ConfigError` now, not after minutes of measuring, if a file cannot be written."""
    place = path if path.exists() else path.parent
    require(
        not path.is_dir() and path.parent.is_dir() and os.access(place, os.W_OK),
        f"{str(path)!r} cannot be written: name a file in an existing folder that you may write to",
    )
