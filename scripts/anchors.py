"""Anchors: links in the pages that point at the line where a name of the code is defined.

    [`Scheduler.schedule`](../fairdraft/engine/scheduler.py#L107)

The name is a class, a function, a method, an attribute or a module's variable, as one would write
it after importing the module. The line is kept right by this script:

    python -m scripts.anchors     rewrite the lines
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scripts.markdown import ROOT, pages

LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)([^)#\s]+\.py)#L(\d+)\)")
NAME = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)`")


@dataclass(frozen=True)
class Anchor:
    """A link to a line of code.

    Args:
        page: the file it stands in.
        at: the line of the page, from 1.
        text: of the link, with its backticks.
        path: of the code, as the link has it.
        line: that it points at.
    """

    page: Path
    at: int
    text: str
    path: str
    line: int

    @property
    def name(self) -> str | None:
        """The name that it is about; None if the text is not one name in backticks."""
        found = NAME.fullmatch(self.text)
        return found[1] if found else None

    @property
    def defined(self) -> int | None:
        """The line where its name is defined; None if it is nowhere."""
        code = (self.page.parent / self.path).resolve()
        if self.name is None or not code.is_file():
            return None
        return definitions(code).get(self.name)

    @property
    def problem(self) -> str | None:
        """What is wrong with it, as a sentence that says what is right; None where nothing is."""
        where = f"{self.page.relative_to(ROOT)}:{self.at}: {self.text}"
        if self.name is None:
            return f"{where} points at a line, but its text is not one name in backticks"
        if not (self.page.parent / self.path).is_file():
            return f"{where} points into {self.path}, which is not there"
        if self.defined is None:
            return f"{where} is not defined in {self.path}"
        if self.defined != self.line:
            return f"{where} points at line {self.line} of {self.path}; right is #L{self.defined}"
        return None


def anchors(page: Path) -> list[Anchor]:
    """Return the links to lines of code on a page."""
    return [
        Anchor(page, at, text, path, int(line))
        for at, row in enumerate(page.read_text("utf-8").splitlines(), 1)
        for text, path, line in LINK.findall(row)
    ]


@cache
def definitions(code: Path) -> dict[str, int]:
    """Return the line on which each name of a Python file is first defined.

    A function counts from its "def", below its decorators, and of overloads the one with a body.
    An attribute is where its class declares it, else where a method first assigns it.
    """
    found: dict[str, int] = {}
    for name, line, firm in _names(ast.parse(code.read_text("utf-8")).body, ""):
        if firm or name not in found:
            found[name] = line
    return found


def _names(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[str, int, bool]]:
    """Return (name, line, whether a later definition of the same name replaces an earlier one)."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + statement.name, statement.lineno, True
                if prefix:
                    yield from _attributes(statement, prefix)
            case ast.ClassDef():
                yield prefix + statement.name, statement.lineno, True
                yield from _names(statement.body, f"{prefix}{statement.name}.")
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name, statement.lineno, False
            case ast.Assign(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield prefix + target.id, statement.lineno, False


def _attributes(method: ast.AST, prefix: str) -> Iterator[tuple[str, int, bool]]:
    """Return the attributes of self that a method assigns, in order of their lines."""
    targets: list[ast.expr] = []
    for node in ast.walk(method):
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    for target in sorted(targets, key=lambda each: each.lineno):
        match target:
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield prefix + name, target.lineno, False


def rewritten(page: Path) -> str:
    """Return a page with the line of each anchor whose name is defined put right."""
    text = page.read_text("utf-8")
    for anchor in anchors(page):
        if anchor.defined is not None:
            link = f"[{anchor.text}]({anchor.path}#L"
            text = text.replace(f"{link}{anchor.line})", f"{link}{anchor.defined})")
    return text


def main() -> int:
    """Rewrite every page; return 1 if an anchor is left whose name is not defined."""
    for page in pages():
        text = rewritten(page)
        if text != page.read_text("utf-8"):
            page.write_text(text, "utf-8")
            sys.stdout.write(f"Written to {page.relative_to(ROOT)}\n")
    left = [problem for page in pages() for a in anchors(page) if (problem := a.problem)]
    sys.stderr.writelines(f"{problem}\n" for problem in left)
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
