"""Commands and Python in the pages, and which of the commands no test runs, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.markdown import ROOT, Block, blocks, pages

SHELL = {"sh", "bash", "shell", "console"}
PROGRAMS = {"fairdraft", "pytest", "make", "python", "pip"}
PYTHON = {"python", "py"}

# The only place where a command may be taken out of the tests: what it begins with, and why.
NOT_RUN: tuple[tuple[str, str], ...] = (
    (r"make ", "sets up .venv, or runs for minutes; CI runs `make test` and `make lint`"),
    (r"fairdraft bench run humaneval ", "measures a grid for twenty minutes; tests/cli/test_bench"),
    (r"fairdraft advise", "measures for a minute; tests/cli/test_advise.py runs it on a toy"),
    (r"fairdraft profile", "measures for minutes; tests/cli/test_profile.py runs it on a toy"),
    (r"fairdraft train ", "learns for half an hour; tests/training runs it on a toy"),
    (
        r"fairdraft diagnose http",
        "scrapes a server of vLLM; tests/cli/test_diagnose_url.py has one",
    ),
    (r"pytest phase-08-speculative-decoding/labs -m", "`make test` runs the same tests"),
    (r"LAB_IMPL=(starter|bug) pytest ", "tests/course/test_labs.py runs it, and reads what fails"),
    (r"python \S+/exercises/", "tests/course/test_exercises.py runs it, and compares its output"),
)


@dataclass(frozen=True)
class Command:
    """A command in a page.

    Args:
        page: where it stands.
        line: of its block.
        text: without the comment behind it, continued lines joined.
    """

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text}"

    @property
    def reason(self) -> str | None:
        """Why no test runs it; None where one does."""
        return next((why for begins, why in NOT_RUN if re.match(begins, self.text)), None)


def commands() -> list[Command]:
    """Return every command of every page, in order; one that several pages show, once."""
    found: dict[str, Command] = {}
    for page in pages():
        for block in blocks(page.read_text("utf-8")):
            for text in lines_of(block):
                found.setdefault(text, Command(page, block.line, text))
    return list(found.values())


def lines_of(block: Block) -> Iterator[str]:
    """Yield the commands of a block; none if it holds something else."""
    text = re.sub(r"\\\n\s*", "", block.text)
    lines = [without_comment(line.removeprefix("$ ")) for line in text.splitlines()]
    lines = [line for line in lines if line]
    if block.language in SHELL or (block.language == "" and lines and is_command(lines[0])):
        yield from lines


def is_command(line: str) -> bool:
    """Tell whether a line begins with a program that the pages call."""
    words = [word for word in line.split() if not re.match(r"[A-Z_]+=", word)]
    return bool(words) and words[0] in PROGRAMS


def without_comment(line: str) -> str:
    """Return a line of shell without the comment at its end."""
    quote = ""
    for i, char in enumerate(line):
        if char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        elif char == "#" and not quote and (i == 0 or line[i - 1].isspace()):
            return line[:i].strip()
    return line.strip()
