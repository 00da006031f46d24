"""What the docs site does besides Sphinx's own: a Sphinx extension that docs/conf.py names.

* The pages of the repository get their place in the navigation here, so that they need to hold
  nothing that only Sphinx understands.
* A link to a folder leads to its README, and a link to a file of code, with its line if it names
  one, to a page of the site that shows the file.
* Docstrings: `scripts.docstrings`.
* The scripts of the live figures are loaded by the pages that have one.
"""

from __future__ import annotations

import html
import os
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.markdown import COURSE, ROOT, links, pages

FRONT = "README"
# Chapters of the navigation, and their pages in order; a * stands for every page not yet named.
CHAPTERS: dict[str, list[str]] = {
    "Learn": [
        f"{COURSE}/README",
        f"{COURSE}/01-deep-dive",
        f"{COURSE}/02-mini-build",
        f"{COURSE}/labs/README",
        f"{COURSE}/EXERCISES",
        f"{COURSE}/CHEATSHEET",
        f"{COURSE}/INTERVIEW",
        f"{COURSE}/*",
        "docs/live",
        "docs/glossary",
    ],
    "Use": [
        "docs/drafters",
        "docs/training",
        "docs/pricing",
        "docs/planning",
        "docs/formats",
        "docs/benchmarks",
    ],
    "Understand": ["docs/architecture", "docs/proofs", "docs/*"],
    "Reference": ["docs/reference/README"],
    "Project": ["CONTRIBUTING", "CHANGELOG"],
}
# Pages beneath a page.
BENEATH: dict[str, list[str]] = {
    f"{COURSE}/labs/README": [
        f"{COURSE}/labs/{lab}/README"
        for lab in (
            "lab-01-ngram-spec-decode",
            "lab-03-rejection-sampling",
            "lab-04-speedup-model",
            "lab-02-eagle-on-real-vllm",
        )
    ],
    "docs/reference/README": [
        "docs/reference/cli",
        "docs/reference/config",
        "docs/reference/api",
        "docs/reference/write-a-proposer",
        "docs/reference/*",
    ],
}
SHOWN = {".py", ".js", ".css", ".sh", ".toml"}  # files of code that get a page when one links there


def docname(path: Path) -> str:
    """Return a page's name in Sphinx: its path in the repository without the suffix."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


# ---- navigation ---------------------------------------------------------------------------------


def toctrees(page: str, known: list[str]) -> str:
    """Return the directives that put other pages beneath a page in the navigation.

    Args:
        page: its name.
        known: names of all pages.

    Returns:
        Markdown; "" if there is nothing beneath it.
    """
    if page == FRONT:
        return "".join(
            _toctree(caption, _listed(names, known)) for caption, names in CHAPTERS.items()
        )
    beside = page.removesuffix("README") if page.endswith("/README") else None
    names = BENEATH.get(page, [])
    if not names and beside and beside.count("/") > 2:  # a lab: its hints and the like
        names = [f"{beside}*"]
    return _toctree("", _listed(names, known, {page}))


def _listed(names: list[str], known: list[str], without: set[str] | None = None) -> list[str]:
    """The pages that a list of names means: those that are there, each once."""
    named = {name for each in (*CHAPTERS.values(), *BENEATH.values()) for name in each}
    found: list[str] = []
    for name in names:
        folder, star, _ = name.partition("*")
        if not star:
            found += [name] if name in known else []
            continue
        found += [
            each
            for each in known
            if posixpath.dirname(each) == folder.rstrip("/")
            and each not in named
            and each not in (without or set())
        ]
    return found


def _toctree(caption: str, names: list[str]) -> str:
    if not names:
        return ""
    head = f":caption: {caption}\n" if caption else ""
    listed = "\n".join(f"/{name}" for name in names)
    return f"\n\n```{{toctree}}\n:hidden:\n{head}\n{listed}\n```\n"


# ---- links --------------------------------------------------------------------------------------


def source_page(path: Path) -> str:
    """Return the name of the page that shows a file of code, or a folder's list of them."""
    return f"source/{path.relative_to(ROOT).as_posix()}"


def code_linked(page: Path, target: str) -> Path | None:
    """Return the file of code, or folder without a README, that a link leads to; None otherwise.

    Args:
        page: that holds the link.
        target: without its anchor.
    """
    path = Path(os.path.normpath(page.parent / target))
    if not path.is_relative_to(ROOT):
        return None
    if path.is_dir():
        return None if (path / "README.md").exists() else path
    return path if is_code(path) and path.is_file() else None


def is_code(path: Path) -> bool:
    """Tell whether a file is one that the site shows as it stands."""
    return path.suffix in SHOWN or path.name == "Makefile"


def linked_sources() -> list[Path]:
    """Return every file of code that some page links to, and every folder with its files."""
    found: set[Path] = set()
    for page in pages():
        for link in links(page.read_text("utf-8")):
            path = None if link.is_outside or not link.path else code_linked(page, link.path)
            if path is not None:
                found.add(path)
                found.update(_inside(path))
    return sorted(found)


def _inside(folder: Path) -> list[Path]:
    """The files of code in a folder; none of a file."""
    return sorted(filter(is_code, folder.iterdir())) if folder.is_dir() else []


def relinked(text: str, page: Path, relative: Any) -> str:
    """Return a page whose links to folders and to code lead to pages of the site.

    Args:
        text: of the page, in Markdown.
        page: where it is.
        relative: of a page's name in Sphinx → its address as seen from this page.
    """
    for link in reversed(links(text)):
        if link.is_outside or not link.path:
            continue
        if (page.parent / link.path).is_dir() and (page.parent / link.path / "README.md").exists():
            target = posixpath.join(link.path, "README.md") + (
                f"#{link.anchor}" if link.anchor else ""
            )
            text = text[: link.start] + target + text[link.end :]
        elif path := code_linked(page, link.path):
            line = re.match(r"L\d+", link.anchor)
            address = relative(source_page(path)) + (f"#{line[0]}" if line else "")
            # MyST leaves addresses alone that it knows to be none of its own.
            text = text[: link.start] + f"site:{address}" + text[link.end :]
    return text


def _on_source_read(app: Any, name: str, content: list[str]) -> None:
    page = ROOT / f"{name}.md"

    def relative(target: str) -> str:
        return str(app.builder.get_relative_uri(name, target))

    known = sorted(app.env.found_docs)
    content[0] = relinked(content[0], page, relative) + toctrees(name, known)


def _on_doctree_read(app: Any, doctree: Any) -> None:
    """Take the mark off addresses that `relinked` made."""
    from docutils import nodes

    for node in doctree.findall(nodes.reference):
        if node.get("refuri", "").startswith("site:"):
            node["refuri"] = node["refuri"].removeprefix("site:")
            node["classes"] = [c for c in node["classes"] if c != "external"]


def _collect_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Pages that show a file of code each, with an anchor a line, or the files of a folder."""
    for path in linked_sources():
        name = path.relative_to(ROOT).as_posix()
        shown = _folder(path) if path.is_dir() else f'<div class="fd-source">{_code(path)}</div>'
        body = f"<h1><code>{html.escape(name)}</code></h1>\n{shown}"
        yield source_page(path), {"title": name, "body": body, "parents": []}, "page.html"


def _folder(path: Path) -> str:
    """The files of a folder, as a list of links to their pages."""
    items = (
        f'<li><a href="{path.name}/{each.name}.html"><code>{each.name}</code></a></li>'
        for each in _inside(path)
    )
    return f"<ul>{''.join(items)}</ul>"


def _code(path: Path) -> str:
    """A file of code in HTML; line 7 has the anchor L7."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_for_filename
    from pygments.lexers.make import MakefileLexer

    lexer = MakefileLexer() if path.name == "Makefile" else get_lexer_for_filename(path.name)
    style = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)
    code = str(highlight(path.read_text("utf-8"), lexer, style))
    return re.sub(r'((?:id|name)="|href="#)L-(\d+)"', r'\1L\2"', code)


# ---- what a page holds and loads ----------------------------------------------------------------


def accessible(page: str) -> str:
    """Return HTML of Sphinx's with what a keyboard and a screen reader need besides.

    Code and tables that may be wider than their page can be scrolled with the keyboard, and a
    heading has a level. The hyphens behind a parameter's name become a dash.
    """
    page = page.replace("</strong> -- ", "</strong> – ").replace("</a> -- ", "</a> – ")
    page = page.replace("<pre>", '<pre tabindex="0">')
    page = page.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
    return page.replace('role="heading">', 'role="heading" aria-level="2">')


def _on_page(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    for part in ("body", "furo_navigation_tree"):
        context[part] = accessible(context.get(part) or "")
    for figure in ("explorer", "rounds"):
        if f'data-figure="{figure}"' in context["body"]:
            app.add_js_file(f"{figure}.js", loading_method="defer")


def _on_finished(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.name == "html":
        shutil.copyfile(app.outdir / f"{FRONT}.html", app.outdir / "index.html")


def setup(app: Any) -> dict[str, Any]:
    """Connect everything to Sphinx."""
    app.connect("source-read", _on_source_read)
    app.connect("doctree-read", _on_doctree_read)
    app.connect("html-collect-pages", _collect_pages)
    app.setup_extension("scripts.docstrings")
    app.connect("html-page-context", _on_page, priority=900)  # behind the theme
    app.connect("build-finished", _on_finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
