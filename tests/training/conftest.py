"""The tiny Llama as a target to train for, with six layers so that EAGLE-3 finds three to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import write_tiny


@pytest.fixture(scope="session")
def six_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six-layers")
    return write_tiny(folder, "llama", 5, num_hidden_layers=6, layer_types=None)
