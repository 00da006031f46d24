"""Heads on disk, for the tiny Llama target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft.heads.eagle3 import save_eagle3
from tests.heads.cases import TINY, tiny_eagle3


@pytest.fixture(scope="session")
def write_head(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`write_head(fc_norm=True, …)`: folder of a random EAGLE-3 head with these flags."""

    def write(**flags: bool) -> Path:
        folder = tmp_path_factory.mktemp("head")
        save_eagle3(tiny_eagle3(**flags), folder, TINY)
        return folder

    return write
