"""The course's labs, loaded as their own tests load them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from scripts.by_path import load_file
from scripts.markdown import COURSE, ROOT

LABS = ROOT / COURSE / "labs"


@pytest.fixture(scope="session")
def load_lab() -> Callable[[str], ModuleType]:
    """Return a function: the first word of a lab's folder, such as "lab-01" → its solution."""
    loader = load_file(LABS / "conftest.py")

    def load(name: str) -> ModuleType:
        (folder,) = LABS.glob(f"{name}-*")
        return loader.load_lab(folder, "solution")  # type: ignore[no-any-return]

    return load
