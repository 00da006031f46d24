"""Links into the code point at the line where the name is defined."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import anchors as module
from scripts.anchors import Anchor, anchors, definitions, rewritten
from scripts.markdown import ROOT, pages

CODE = '''\
from dataclasses import dataclass
from typing import overload

LIMIT = 3
table: dict[str, int] = {}


@overload
def twice(x: int) -> int: ...
@overload
def twice(x: float) -> float: ...
def twice(x):
    """Return it twice."""
    return 2 * x


@dataclass
class Point:
    x: int
    y: int = 0

    @property
    def norm(self) -> int:
        return self.x

    def move(self) -> None:
        if self.x:
            self.moved = True
            self.moved = False

    class Inner:
        depth = 1
'''

LINES = {
    "LIMIT": 4,
    "table": 5,
    "twice": 12,
    "Point": 18,
    "Point.x": 19,
    "Point.y": 20,
    "Point.norm": 23,
    "Point.move": 26,
    "Point.moved": 28,
    "Point.Inner": 31,
    "Point.Inner.depth": 32,
}

EVERY = [anchor for page in pages() for anchor in anchors(page)]


def test_there_are_anchors() -> None:
    """The code walk is made of them."""
    assert any(anchor.page.name == "01-deep-dive.md" for anchor in EVERY)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_point_at_what_they_name(page: Path) -> None:
    wrong = [anchor.problem for anchor in anchors(page) if anchor.problem is not None]
    assert not wrong, "\n".join([*wrong, "python -m scripts.anchors puts lines right"])


def test_definitions_of_every_kind(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text(CODE)
    assert definitions(code) == LINES


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page beside the code above, in a project of their own."""
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("[`Point.move`](code.py#L26)", None),
        ("[`Point.move`](code.py#L25)", "right is #L26"),
        ("[`Point.fly`](code.py#L26)", "not defined"),
        ("[`move`](code.py#L26)", "not defined"),
        ("[moves](code.py#L26)", "not one name"),
        ("[`LIMIT`](nowhere.py#L4)", "not there"),
    ],
)
def test_what_is_wrong_is_said(page: Path, link: str, problem: str | None) -> None:
    page.write_text(f"First line.\n\nSee {link}, or not.\n")
    (anchor,) = anchors(page)
    assert isinstance(anchor, Anchor)
    assert anchor.at == 3
    if problem is None:
        assert anchor.problem is None
    else:
        assert problem in str(anchor.problem)


def test_lines_are_put_right_and_nothing_else(page: Path) -> None:
    page.write_text("[`LIMIT`](code.py#L9) [`Point.fly`](code.py#L9) [`Point`](code.py#L9)\n")
    right = "[`LIMIT`](code.py#L4) [`Point.fly`](code.py#L9) [`Point`](code.py#L18)\n"
    assert rewritten(page) == right


def test_a_link_without_a_line_is_no_anchor(page: Path) -> None:
    page.write_text("[`LIMIT`](code.py), [`LIMIT`](https://example.org/code.py#L4)\n")
    assert anchors(page) == []
