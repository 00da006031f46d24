"""Every Python block of every page runs, and every command but those that a table lists."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairdraft.cli.main import main
from scripts.markdown import ROOT, Block, blocks, pages
from tests.docs.commands import NOT_RUN, PYTHON, Command, commands, lines_of

COMMANDS = commands()
WITH_PYTHON = [
    page
    for page in pages()
    if any(block.language in PYTHON for block in blocks(page.read_text("utf-8")))
]
SECONDS = 60  # that a command may take


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python(page: Path, install: Callable[[Path], None]) -> None:
    """The blocks of a page run one after the other, as a reader would paste them."""
    install(page)
    names: dict[str, Any] = {"__name__": "page"}
    found = blocks(page.read_text("utf-8"))
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language not in PYTHON:
            continue
        values, printed = run(block, page, names)
        for line, value, shown in values:
            assert agrees(value, shown), f"{name(page)}:{line} says {shown}, but is {value!r}"
        if following is not None and follows(following, block):
            assert printed.strip("\n") == following.text.strip("\n"), f"{name(page)}:{block.line}"


@pytest.mark.parametrize("command", [each for each in COMMANDS if not each.reason], ids=str)
def test_command(command: Command, workplace: Path) -> None:
    words = shlex.split(command.text)
    if words[0] == "fairdraft":
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        assert ended.value.code == 0
        return
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command.text],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plan_is_the_one_shown(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    command, shown = blocks((ROOT / "docs" / "planning.md").read_text("utf-8"))[:2]
    with pytest.raises(SystemExit):
        main(shlex.split(command.text)[1:])
    printed = "".join(capsys.readouterr().out.split())
    for part in shown.text.split("…"):
        assert "".join(part.split()) in printed


def test_every_line_of_the_table_is_needed() -> None:
    texts = [command.text for command in COMMANDS]
    assert [row for row in NOT_RUN if not any(re.match(row[0], text) for text in texts)] == []


def test_most_commands_run() -> None:
    assert sum(each.reason is None for each in COMMANDS) > 10


# ---- the parts of this file that could be wrong themselves ---------------------------------------


def follows(block: Block, code: Block) -> bool:
    """Tell whether a block shows what the code right above it prints."""
    ends = code.line + len(code.text.splitlines())  # the closing fence
    return block.language == "text" and block.line - ends <= 3


def run(block: Block, page: Path, names: dict[str, Any]) -> tuple[list[tuple[int, Any, str]], str]:
    """Run a block; return line, value and comment of each expression that has one, and its output.

    The value of a call to `print` is what it prints.
    """
    tree = ast.parse(block.text)
    ast.increment_lineno(tree, block.line - 1)
    lines = block.text.splitlines()
    found, outputs = [], []
    for statement in tree.body:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if not isinstance(statement, ast.Expr):
                exec(compile(ast.Module([statement], []), str(page), "exec"), names)
                value = None
            else:
                value = eval(compile(ast.Expression(statement.value), str(page), "eval"), names)
        outputs.append(printed.getvalue())
        if not isinstance(statement, ast.Expr):
            continue
        line, column = statement.end_lineno or 0, statement.end_col_offset or 0
        comment = lines[line - block.line].encode()[column:].decode().strip()
        if comment.startswith("#"):
            value = printed.getvalue() if value is None else value
            found.append((line, value, comment.removeprefix("#").strip()))
    return found, "".join(outputs)


NUMBER = re.compile(r"[−-]?\d+(?:\.(\d+))?")


def agrees(value: Any, shown: str) -> bool:
    """Tell whether a comment that begins with a value begins with this one.

    Numbers agree to the digits shown. A comment that begins with a word says nothing of the value.
    """
    if shown.startswith(("{", "[", "(", '"', "'", "True", "False", "None")):
        for end in range(len(shown), 0, -1):
            with contextlib.suppress(SyntaxError, ValueError):
                return bool(ast.literal_eval(shown[:end]) == value)
        return False
    if re.match(r"\w+\(\w+=", shown):  # a dataclass, its numbers rounded; or several, the first
        value = value[0] if isinstance(value, tuple) else value
        return all(
            agrees(getattr(value, key), text)
            for key, text in re.findall(r"(\w+)=([−-]?[\d.]+\d)", shown)
        )
    number = NUMBER.match(shown)
    if number is None:
        return True
    if isinstance(value, str):
        printed = NUMBER.search(value)
        value = printed and printed[0]
    off = float(getattr(value, "value", value)) - float(number[0].replace("−", "-"))
    return abs(off) <= 0.5000001 * 10 ** -len(number[1] or "")


@pytest.mark.parametrize(
    ("value", "shown", "same"),
    [
        (1.979, "1.98: acceptance", True),
        (1.97, "1.98: acceptance", False),
        (0, "0: leave it off", True),
        (-2.5, "−2.5 of them", True),
        ("3.21\n", "3.2 tokens", True),
        ({1: 6, 8: 4}, "{1: 6, 8: 4}", True),
        ({1: 6}, "{1: 6, 8: 4}", False),
        ("x", '"x" and more', True),
        (7, "words say nothing", True),
    ],
)
def test_comments_are_compared(value: Any, shown: str, same: bool) -> None:
    assert agrees(value, shown) is same


def test_commands_are_told_from_output() -> None:
    text = 'LAB=1 pytest a  # twice\nfairdraft plan \\\n    --k 1  # "x"\nfairdraft prove "a # b"'
    found = list(lines_of(Block(1, "", text)))
    assert found == ["LAB=1 pytest a", "fairdraft plan --k 1", 'fairdraft prove "a # b"']
    assert list(lines_of(Block(1, "", "periodic 120 → 24 runs\nfairdraft x"))) == []
    assert list(lines_of(Block(1, "text", "fairdraft prove"))) == []
    assert list(lines_of(Block(1, "sh", "ls -l"))) == ["ls -l"]
