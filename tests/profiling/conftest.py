"""A shape small enough to build at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import TINY


@pytest.fixture
def shape(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", **TINY, "tie_word_embeddings": True}))
    return str(path)
