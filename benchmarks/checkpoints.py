"""Checkpoints that the benchmarks make of the demo model."""

from __future__ import annotations

from pathlib import Path

from benchmarks.constants import WORK
from fairdraft.models import load_checkpoint
from fairdraft.models.early_exit import shallow_model


def shallow_checkpoint(folder: Path, num_layers: int, dtype: str = "bfloat16") -> str:
    """Write the demo model's first layers, norm and head as a checkpoint: a draft model."""
    checkpoint = load_checkpoint("demo", dtype, "cpu")
    shallow_model(checkpoint.model, num_layers).save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    return str(folder)


def demo_folder() -> Path:
    """Return the demo model as a folder that other engines read, written once."""
    folder = WORK / "SmolLM2-135M"
    if not (folder / "config.json").exists():
        checkpoint = load_checkpoint("demo", "bfloat16", "cpu")
        checkpoint.tokenizer.save_pretrained(folder)
        checkpoint.model.save_pretrained(folder)
    return folder
