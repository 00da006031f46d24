"""Links inside the repository lead to files that are there, to headings and to lines of code."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from scripts.markdown import ROOT, Link, anchors, links, pages


def fault(page: Path, link: Link) -> str | None:
    """What is wrong with a link; None if nothing is. Addresses outside are not fetched."""
    if link.is_outside:
        return None if re.match(r"https?://\w|mailto:\w", link.target) else "no address"
    target = Path(os.path.normpath(page.parent / link.path)) if link.path else page
    if not target.is_relative_to(ROOT):
        return "outside the repository"
    if not target.exists():
        return "no such file"
    if not link.anchor:
        return None
    if target.is_dir():
        target /= "README.md"
    if target.suffix == ".md":
        return None if link.anchor in anchors(target.read_text("utf-8")) else "no such heading"
    lines = re.fullmatch(r"L(\d+)(?:-L(\d+))?", link.anchor)
    count = len(target.read_text("utf-8").splitlines())
    if lines is None or not 1 <= int(lines[1]) <= int(lines[2] or lines[1]) <= count:
        return f"no such lines of {count}"
    return None


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    found = [(link, fault(page, link)) for link in links(page.read_text("utf-8"))]
    assert [f"{link.line}: {link.target}: {why}" for link, why in found if why] == []


def test_faults_are_seen() -> None:
    page = ROOT / "README.md"
    good = ("docs/pricing.md#leave-it-on", "docs", "LICENSE", "https://a.b", "Makefile#L1-L3")
    bad = (
        "docs/none.md",
        "docs/pricing.md#none",
        "../x",
        "Makefile#L9999",
        "Makefile#L3-L1",
        "a:b",
    )
    faults = [fault(page, Link(1, target, 0, 0)) for target in (*good, *bad)]
    assert [why is not None for why in faults] == [False] * len(good) + [True] * len(bad)
