"""The mini build's page: its blocks make a file that runs and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "phase-08-speculative-decoding" / "02-mini-build.md"
BLOCK = re.compile(r"```python\n(.*?)```\n+```text\n(.*?)```", re.S)
STEPS: list[tuple[str, str]] = BLOCK.findall(PAGE.read_text("utf-8"))
FILES = list(accumulate((code for code, _ in STEPS), lambda before, code: f"{before}\n\n{code}"))


def run(code: str) -> tuple[str, dict[str, Any]]:
    """Run a file; return what it prints and its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "mini.py", "exec"), names)
    return printed.getvalue(), names


def changed(old: str, new: str) -> str:
    """Return the finished file with one place changed."""
    assert FILES[-1].count(old) == 1
    return FILES[-1].replace(old, new)


def tokens_per_run(code: str) -> str:
    """Return what a file prints as tokens per run; its text is plain decoding's, or it raises."""
    found = re.search(r"tokens per run: (\S+)", run(code)[0])
    assert found is not None
    return found[1]


def test_every_python_block_has_its_output() -> None:
    assert len(STEPS) == PAGE.read_text("utf-8").count("```python") == 5


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_each_step_runs_and_prints_what_the_page_says(step: int) -> None:
    printed, _ = run(FILES[step])
    before = run(FILES[step - 1])[0] if step else ""
    assert printed == before + STEPS[step][1]


def test_it_is_about_sixty_lines() -> None:
    lines = [line for line in FILES[-1].splitlines() if line.strip()]
    assert 55 <= len(lines) <= 65


@pytest.mark.parametrize("k", [0, 1, 2, 5, 9, 40])
@pytest.mark.parametrize("max_tokens", [0, 1, 2, 7, 100])
def test_the_text_is_that_of_plain_decoding(k: int, max_tokens: int) -> None:
    _, names = run(FILES[-1])
    target = names["Target"]()
    prompt = names["PROMPT"]
    tokens, drafted, accepted = names["speculate"](target, prompt, max_tokens, k)
    assert tokens == names["decode"](names["Target"](), prompt, max_tokens)
    assert accepted <= drafted
    assert target.num_runs == max_tokens - accepted


def test_what_the_table_says_of_changes() -> None:
    page = PAGE.read_text("utf-8")
    accepts_all = changed("and draft[accepted] == says[accepted]:", ":")
    with pytest.raises(AssertionError, match="changed the text"):
        run(accepts_all)
    from_prompt = changed("propose(text, min", "propose(prompt, min")
    assert f"{tokens_per_run(from_prompt)} tokens per run: the prompt's end is" in page
    short = changed("longest: int = 3", "longest: int = 1")
    assert f"{tokens_per_run(short)} tokens per run, for a match of one token" in page
    longer = changed("140, k=4", "140, k=8")
    rate = re.search(r"= (0\.\d+)$", run(longer)[0].strip())
    assert rate is not None
    said = f"{tokens_per_run(longer)} tokens per run, but {float(rate[1]):.0%} of the drafted"
    assert said in page
