"""The labs as a student meets them: starters that say what is missing, bugs that one test sees."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.by_path import load_file
from scripts.markdown import ROOT

LABS = {
    "lab-01-ngram-spec-decode": "test_text_ends_with_eos_as_the_baseline_does",
    "lab-02-eagle-on-real-vllm": "test_survivals_where_rounds_draft_as_much_as_pays",
    "lab-03-rejection-sampling": "test_draws_stay_within_what_chance_allows",
    "lab-04-speedup-model": "test_alpha_from_counters_is_the_alpha_that_was_put_in",
}
"""Per lab the test that its README leads the reader to."""


def grade(lab: str, implementation: str) -> str:
    """Run a lab's tests as its README says, and return what pytest prints."""
    folder = f"phase-08-speculative-decoding/labs/{lab}"
    command = [sys.executable, "-m", "pytest", folder, "-q", "-rf", "-p", "no:cacheprovider"]
    environment = os.environ | {"LAB_IMPL": implementation, "COLUMNS": "200"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return run.stdout + run.stderr


def failed(printed: str) -> set[str]:
    """Return the names of the tests that failed, without their parameters."""
    return set(re.findall(r"^FAILED \S+::(\w+)", printed, re.MULTILINE))


@pytest.mark.parametrize("lab", LABS)
def test_the_bug_is_caught_by_the_test_that_the_reader_is_led_to(lab: str) -> None:
    assert failed(grade(lab, "bug")) == {LABS[lab]}


@pytest.mark.parametrize("lab", LABS)
def test_the_starter_fails_and_says_what_is_missing(lab: str) -> None:
    printed = grade(lab, "starter")
    assert len(failed(printed)) >= len(todos(lab))
    first, text = todos(lab)[1]
    assert f"TODO 1, {first}: {text[:30]}" in printed


@pytest.mark.parametrize("lab", LABS)
def test_todos_are_numbered_and_name_their_function(lab: str) -> None:
    found = todos(lab)
    assert sorted(found) == list(range(1, len(found) + 1))
    tree = ast.parse((ROOT / "phase-08-speculative-decoding/labs" / lab / "starter.py").read_text())
    unwritten = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Raise)
    ]
    assert [found[number][0] for number in sorted(found)] == unwritten


def test_a_missing_implementation_is_named() -> None:
    printed = grade("lab-01-ngram-spec-decode", "mine")
    assert "LAB_IMPL is 'mine', but lab-01-ngram-spec-decode has no file of that name" in printed


def todos(lab: str) -> dict[int, tuple[str, str]]:
    """Return a starter's TODOs by number: the function, and what it must do."""
    tree = ast.parse((ROOT / "phase-08-speculative-decoding/labs" / lab / "starter.py").read_text())
    texts = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    found = [re.match(r"TODO (\d+), (\w+): (.*)", text, re.DOTALL) for text in texts]
    return {int(match[1]): (match[2], match[3]) for match in found if match}


def written(path: Path) -> dict[str, str]:
    """Return what a file defines, by name."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = ast.unparse(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found[ast.unparse(node).split("=")[0]] = ast.unparse(node)
    return found


def asked(path: Path) -> dict[str, str]:
    """Return each function's signature and docstring."""
    functions = [
        node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    return {
        node.name: ast.unparse(node.args) + (ast.get_docstring(node) or "") for node in functions
    }


@pytest.mark.parametrize("lab", LABS)
def test_a_starter_is_its_solution_without_the_todos(lab: str) -> None:
    """They cannot drift apart: the same questions, and the same code where nothing is to do."""
    folder = ROOT / "phase-08-speculative-decoding/labs" / lab
    starter, solution = folder / "starter.py", folder / "solution.py"
    shown = {"main"}  # a solution's may show what goes further
    open_ones = {name for name, _ in todos(lab).values()}
    questions, answered = asked(starter), asked(solution)
    assert {k: v for k, v in questions.items() if k not in shown}.items() <= answered.items()
    given, whole = written(starter), written(solution)
    for name in given.keys() - open_ones - shown:
        assert given[name] == whole[name], name


@pytest.mark.parametrize("lab", LABS)
def test_the_readme_shows_what_the_solution_prints(lab: str) -> None:
    folder = ROOT / "phase-08-speculative-decoding/labs" / lab
    command = [sys.executable, str(folder / "solution.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert run.stdout.strip() in (folder / "README.md").read_text()


def test_the_wrong_formulas_worst_place_is_as_the_readme_says() -> None:
    folder = ROOT / "phase-08-speculative-decoding/labs/lab-04-speedup-model"
    lab = load_file(folder / "solution.py")
    alpha = lab.most_misleading_alpha(4)
    wrong, right = lab.wrong_speedup(alpha, 4), lab.speedup(alpha, 0, 4)
    said = f"α = {alpha:.3f}: it says {wrong:.2f}× where {right:.2f}× is right"
    assert f"{said}, {1 - wrong / right:.0%}" in (folder / "README.md").read_text()
