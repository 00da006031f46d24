"""Loads what a lab's tests grade: its `solution.py`, or the file that LAB_IMPL names.

    LAB_IMPL=starter   your own work
    LAB_IMPL=bug       the solution with the functions of `bug.py` in place of its own

Each test takes the loaded file as the fixture `lab`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load_lab(folder: Path, name: str) -> ModuleType:
    """Load a lab's implementation from its folder.

    Args:
        folder: the lab's.
        name: of the file, without ".py".

    Raises:
        pytest.UsageError: there is no such file.
    """
    if not name.isidentifier() or not (folder / f"{name}.py").is_file():
        raise pytest.UsageError(
            f"LAB_IMPL is {name!r}, but {folder.name} has no file of that name: take solution, "
            "starter or bug, or the name of a file of yours beside them, without .py"
        )
    module = ModuleType(f"{folder.name}.{name}")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    sys.path.insert(0, str(folder))
    try:
        for file in ("solution", "bug") if name == "bug" else (name,):
            path = folder / f"{file}.py"
            module.__file__ = str(path)
            exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)
    finally:
        sys.path.remove(str(folder))
    return module


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> ModuleType:
    """The lab's implementation."""
    return load_lab(request.path.parent, os.environ.get("LAB_IMPL") or "solution")
