"""The exercises' page shows what the exercises' scripts print."""

from __future__ import annotations

import re

import pytest

from scripts.by_path import load_file
from scripts.markdown import COURSE, ROOT

EXERCISES = ROOT / COURSE / "exercises"
page = load_file(EXERCISES / "page.py")

TEXT = page.PAGE.read_text("utf-8")
INTERVIEW = (4, 5, 6, 10, 11, 12, 13)


@pytest.mark.parametrize("script", page.scripts())
def test_output(script: str) -> None:
    shown = page.outputs(TEXT)
    assert script in shown, f"EXERCISES.md does not show what {script} prints"
    assert page.run(script) == shown[script], f"run exercises/page.py: {script} prints otherwise"


def test_every_exercise_has_its_parts() -> None:
    sections = re.split(r"^## (\d+)\. ", TEXT, flags=re.MULTILINE)[1:]
    numbers = [int(number) for number in sections[::2]]
    assert numbers == list(range(1, len(page.scripts()) + 1))
    for number, section in zip(numbers, sections[1::2], strict=True):
        assert "**Stop here and try.**" in section
        assert section.count("<details>") == section.count("</details>") >= 1
        (script,) = page.outputs(section)
        assert script.startswith(f"ex{number:02}_")
        graded = number in INTERVIEW
        assert ("*interview-grade*" in section) == graded
        assert ("**Whiteboard check.**" in section) == graded


def test_the_page_is_refreshed_in_place() -> None:
    printed = dict.fromkeys(page.scripts(), "new\n")
    once = page.refreshed(TEXT, printed.__getitem__)
    assert page.outputs(once) == printed
    assert page.refreshed(once, page.outputs(TEXT).__getitem__) == TEXT
