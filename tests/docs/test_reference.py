"""The reference says what the code says: generated parts, file formats, public names."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import fairdraft
import fairdraft.testing
from fairdraft import LLM, SamplingParams
from fairdraft.cli.main import main
from fairdraft.economics.costs.cost_surface import CostSurface, Point, record_of
from fairdraft.economics.costs.profile import Profile
from scripts.reference import FOLDER, PAGES, PARTS, described, filled, table

POINT = Point(1, 1, 16, (0.1,))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_generated_parts_are_what_the_code_gives(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text) == text, "run `make tables`"


def test_every_part_has_a_place() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in PARTS if f"<!-- {name}: made by" not in text] == []


@pytest.mark.parametrize("module", ["speedup", "acceptance", "cost", "best_k", "estimators"])
def test_the_equations_have_their_modules_on_the_page(module: str) -> None:
    text = (FOLDER / "api-economics.md").read_text("utf-8")
    assert f".. automodule:: fairdraft.economics.equations.{module}\n" in text


def test_public_names_are_on_the_pages() -> None:
    text = "".join(page.read_text("utf-8") for page in FOLDER.glob("api*.md"))
    shown = set(re.findall(r":: ([\w.]+)", text))
    for module, names in ((fairdraft, fairdraft.__all__), (None, fairdraft.testing.__all__)):
        module = module or fairdraft.testing
        for name in names:
            home = inspect.getmodule(getattr(module, name))
            assert home is not None
            assert shown & {name, home.__name__}, name


def keys_of(title: str) -> set[str]:
    """The keys that files.md lists for a format."""
    text = (FOLDER / "files.md").read_text("utf-8")
    _, _, rest = text.partition(f"<!-- keys of {title} -->\n")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])}


def a_profile() -> dict[str, Any]:
    surface = CostSurface([POINT])
    return Profile("toy", "float32", {}, surface, surface).to_json()


def a_benchmark() -> dict[str, Any]:
    module = import_module("fairdraft.bench.report")
    source = inspect.getsource(module.report)
    return dict.fromkeys(re.findall(r'^ {8}"(\w+)":', source, re.M))


def a_cell() -> dict[str, Any]:
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "bench.json"
    cell: dict[str, Any] = json.loads(results.read_text("utf-8"))["cells"][0]
    return cell


@pytest.mark.parametrize(
    ("title", "make"),
    [
        ("a profile", a_profile),
        ("a point", lambda: record_of(POINT)),
        ("a benchmark", a_benchmark),
        ("a cell", a_cell),
    ],
)
def test_file_formats(title: str, make: Callable[[], dict[str, Any]]) -> None:
    assert keys_of(title) == set(make())


def test_the_plan(workplace: Path) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--sweep", "runs", "--method", "ngram", "--out", "plan.json"])
    assert set(json.loads(Path("plan.json").read_text("utf-8"))) == keys_of("a plan")


def test_the_step_trace(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "trace"
    tree = {"method": "suffix", "suffix_decoding_use_tree_spec": True}
    with LLM(str(tiny("llama")), dtype="float32", trace=path, speculative_config=tree) as llm:
        llm.generate("abab abab abac abab aba", SamplingParams(temperature=0, max_tokens=60))
    steps = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert {key for step in steps for key in step} == keys_of("a step")
    found = {key for step in steps for request in step["requests"] for key in request}
    assert found | {"parents"} == keys_of("a request in a step")


def test_sections_of_docstrings() -> None:
    text = (
        "A class.\n\nArgs:\n    a, b: both.\n    c: first\n        and more.\n\nRaises:\n    E: no."
    )
    assert described(text, "Args") == {"a": "both.", "b": "both.", "c": "first and more."}
    assert described(text, "Attributes") == {}


def test_cells_keep_their_bars() -> None:
    assert table(["a"], [["x | y\n z"]]).splitlines()[2] == "| x \\| y z |"
