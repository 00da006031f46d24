"""What the docs' tools see in a page."""

from __future__ import annotations

import pytest

from scripts.markdown import anchors, blocks, links, pages, prose

PAGE = """\
# The title, with `code` & more

See [a page](other.md#there "title") and ![a picture](a.png), not `[this](x.md)`.
<!-- [nor this](y.md) --> <a href="z.md">z</a>

[name]: https://example.org

## Same
## Same
<span id="own"></span>

```python
# [no link](no.md)
a = 1
```

* in a list:
  ~~~
  text
    indented
  ~~~
"""


def test_blocks() -> None:
    found = [(block.line, block.language, block.text) for block in blocks(PAGE)]
    assert found == [
        (13, "python", "# [no link](no.md)\na = 1"),
        (19, "", "text\n  indented"),
    ]


def test_a_fence_ends_with_one_as_long() -> None:
    assert [block.text for block in blocks("````md\n```\nx\n```\n````\n")] == ["```\nx\n```"]


def test_links() -> None:
    found = [(link.line, link.path, link.anchor, link.is_outside) for link in links(PAGE)]
    assert found == [
        (3, "other.md", "there", False),
        (3, "a.png", "", False),
        (4, "z.md", "", False),
        (6, "https://example.org", "", True),
    ]
    for link in links(PAGE):
        assert PAGE[link.start : link.end] == link.target


def test_prose_keeps_every_character_at_its_place() -> None:
    found = prose(PAGE)
    assert len(found) == len(PAGE)
    assert found.count("\n") == PAGE.count("\n")
    assert "no.md" not in found


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("The title, with `code` & more", "the-title-with-code--more"),
        ("a_b-c D", "a_b-c-d"),
        ("Köln, 100%", "köln-100"),
        ("[link](x.md) here", "link-here"),
    ],
)
def test_slugs(heading: str, slug: str) -> None:
    assert anchors(f"## {heading}\n") == {slug}


def test_anchors() -> None:
    assert anchors(PAGE) == {"the-title-with-code--more", "same", "same-1", "own"}


def test_the_pages_are_there() -> None:
    names = [page.name for page in pages()]
    assert "README.md" in names
    assert "glossary.md" in names
    assert not any("_build" in page.parts for page in pages())
