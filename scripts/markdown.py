"""Pages in Markdown, as this project writes them: code blocks, links, headings and anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COURSE = "phase-08-speculative-decoding"
FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *([^\s`]*)[^`]*$")
INLINE_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
COMMENT = re.compile(r"<!--.*?-->", re.S)
# ](target) and ](target "title"), definitions [name]: target, and href or src of an HTML tag.
LINK = re.compile(
    r"\]\(\s*<?([^()\s<>]+(?:\([^()\s]*\)[^()\s<>]*)?)>?(?:\s+\"[^\"]*\")?\s*\)"
    r"|^ {0,3}\[[^\]]+\]:\s+(\S+)"
    r"|<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"]+)\"",
    re.M,
)
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)
ANCHOR = re.compile(r"<[^>]+\b(?:id|name)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Args:
        line: of the page, from 1, on which its text begins.
        language: the first word behind the fence; "" if there is none.
        text: without the fences and their indentation.
    """

    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Link:
    """A link or a picture.

    Args:
        line: of the page, from 1.
        target: as it is written.
        start, end: where the target stands in the page.
    """

    line: int
    target: str
    start: int
    end: int

    @property
    def is_outside(self) -> bool:
        """Whether it leads out of the repository."""
        return re.match(r"[a-z][a-z0-9+.-]*:|//", self.target) is not None

    @property
    def path(self) -> str:
        """The target without its anchor."""
        return self.target.partition("#")[0]

    @property
    def anchor(self) -> str:
        """What follows the "#"."""
        return self.target.partition("#")[2]


def pages() -> list[Path]:
    """Return every page that the site shows, in order of their names."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    found += [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    found += (ROOT / COURSE).rglob("*.md")
    return sorted(found)


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(line, language, "\n".join(each[indent:] for each in lines))
        for line, indent, language, lines in _fences(text)
    ]


def _fences(text: str) -> Iterator[tuple[int, int, str, list[str]]]:
    """Every block: number of its first line, indentation, language, lines as they stand."""
    fence, language, indent, start = "", "", 0, 0
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = FENCE.match(line)
        if not fence and found:
            indent, fence, language = len(found[1]), found[2], found[3]
            start, lines = number + 1, []
        elif fence and found and not found[3] and found[2].startswith(fence):
            yield start, indent, language, lines
            fence = ""
        elif fence:
            lines.append(line)


def between(text: str, begin: str, end: str, inner: str) -> str:
    """Return a page with what stands between two marks replaced; as it is without the first one."""
    before, found, rest = text.partition(begin)
    return f"{before}{begin}\n{inner}\n{end}{rest.partition(end)[2]}" if found else text


def prose(text: str) -> str:
    """Return a page with code and comments blanked out; all else stays at its place."""
    lines = text.split("\n")
    for start, _, _, inside in _fences(text):
        for number in range(start - 2, start + len(inside)):  # the fences too
            lines[number] = " " * len(lines[number])
    blanked = "\n".join(lines)
    for pattern in (COMMENT, INLINE_CODE):
        blanked = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), blanked)
    return blanked


def links(text: str) -> list[Link]:
    """Return the links and pictures of a page, in order."""
    found = []
    for match in LINK.finditer(prose(text)):
        group = next(i for i in (1, 2, 3) if match[i] is not None)
        start, end = match.span(group)
        found.append(Link(text.count("\n", 0, start) + 1, text[start:end], start, end))
    return found


def anchors(text: str) -> set[str]:
    """Return what a link to a page may name behind "#": its headings' slugs and HTML ids.

    Slugs are GitHub's, which the site's are too: lower case, spaces as hyphens, letters, digits,
    hyphens and underscores kept; -1, -2, … behind the second and later ones of a kind.
    """
    lines = text.split("\n")
    for start, _, _, inside in _fences(text):
        for number in range(start - 2, start + len(inside)):
            lines[number] = ""
    text = "\n".join(lines)
    found = set(ANCHOR.findall(text))
    seen: dict[str, int] = {}
    for title in HEADING.findall(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        times = seen.get(slug, 0)
        seen[slug] = times + 1
        found.add(f"{slug}-{times}" if times else slug)
    return found
