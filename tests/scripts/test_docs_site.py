"""How pages become pages of the site, without building it."""

from __future__ import annotations

import pytest

from scripts.docs_site import (
    COURSE,
    accessible,
    code_linked,
    docname,
    linked_sources,
    relinked,
    source_page,
    toctrees,
)
from scripts.markdown import ROOT, pages

PAGE = ROOT / "docs" / "a-page.md"
KNOWN = sorted(docname(page) for page in pages())


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("[x](glossary.md)", "[x](glossary.md)"),
        ("[x](https://a.b/c.py)", "[x](https://a.b/c.py)"),
        ("[x](reference)", "[x](reference/README.md)"),
        ("[x](reference#more)", "[x](reference/README.md#more)"),
        ("[x](conf.py#L3-L9)", "[x](site:<source/docs/conf.py>#L3)"),
        ("[x](../Makefile)", "[x](site:<source/Makefile>)"),
        ("[x](live)", "[x](site:<source/docs/live>)"),
        ("`[x](conf.py)`", "`[x](conf.py)`"),
        (
            "[a](conf.py) [b](conf.py)",
            "[a](site:<source/docs/conf.py>) [b](site:<source/docs/conf.py>)",
        ),
    ],
)
def test_links(link: str, shown: str) -> None:
    assert relinked(link, PAGE, lambda name: f"<{name}>") == shown


def test_code_outside_of_the_repository_is_not_shown() -> None:
    assert code_linked(PAGE, "../../x.py") is None
    assert code_linked(PAGE, "no_such_file.py") is None
    assert source_page(ROOT / "docs" / "conf.py") == "source/docs/conf.py"
    assert all(path.exists() for path in linked_sources())


def test_every_page_has_one_place_in_the_navigation() -> None:
    listed = [
        line.removeprefix("/")
        for name in KNOWN
        for line in toctrees(name, KNOWN).splitlines()
        if line.startswith("/")
    ]
    assert sorted([*listed, "README"]) == KNOWN


def test_pages_that_are_not_there_are_left_out() -> None:
    found = toctrees("README", ["README", "docs/glossary"])
    assert "/docs/glossary" in found
    assert COURSE not in found
    assert "Project" not in found


def test_what_scrolls_can_be_reached_and_headings_have_levels() -> None:
    page = '<pre>x</pre><div class="table-wrapper y"></div><p role="heading">z</p>'
    assert accessible(page) == (
        '<pre tabindex="0">x</pre><div tabindex="0" class="table-wrapper y"></div>'
        '<p role="heading" aria-level="2">z</p>'
    )
    assert accessible("<strong>a</strong> -- b --c") == "<strong>a</strong> – b --c"
