"""The drafters that come with fairdraft, for the demo model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fairdraft.models.checkpoints import DEMO


def shipped_head(target: str, method: str) -> str | None:
    """Return the folder of the drafter that comes with fairdraft; None where there is none.

    Args:
        target: as the user named it.
        method: "eagle3", "medusa", "dflash" or "draft_model".
    """
    folder = Path(str(files("fairdraft"))) / "data" / "heads" / method
    return str(folder) if target == DEMO and (folder / "config.json").is_file() else None
