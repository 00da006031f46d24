"""Docstrings in their plain dialect become reStructuredText."""

from __future__ import annotations

from scripts.docstrings import restructured


def test_docstrings() -> None:
    lines = [
        "Return `x`s, *not* a|b of d_.",
        "",
        "    E = `raw` * 2",
        "",
        "more.",
        "",
        "Args:",
        "    x: is `[1,",
        "        2]` at most.",
    ]
    assert restructured(lines) == [
        "Return ``x``\\ s, \\*not\\* a\\|b of d\\_.",
        "",
        "::",
        "",
        "    E = `raw` * 2",
        "",
        "",
        "more.",
        "",
        "Args:",
        "    x: is ``[1,",
        "        2]`` at most.",
    ]
