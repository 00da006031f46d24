"""The course's labs, loaded as their own tests load them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

COURSE = Path(__file__).parents[2] / "phase-08-speculative-decoding"


@pytest.fixture(scope="session")
def load_lab() -> Callable[[str], ModuleType]:
    """Return a function: the first word of a lab's folder, such as "lab-01" → its solution."""
    spec = importlib.util.spec_from_file_location("labs_conftest", COURSE / "labs" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loader)

    def load(name: str) -> ModuleType:
        (folder,) = (COURSE / "labs").glob(f"{name}-*")
        return loader.load_lab(folder, "solution")  # type: ignore[no-any-return]

    return load
