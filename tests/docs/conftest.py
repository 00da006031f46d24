"""A folder with every file that the pages name, so that their examples run as they are written."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft.economics.costs.cost_surface import CostSurface, Point
from fairdraft.economics.costs.profile import Profile
from fairdraft.telemetry.environment import benchmark_environment
from scripts.markdown import ROOT, blocks
from tests.cli.test_diagnose import ENGINE, SPECULATION
from tests.cli.test_plan import sweep
from tests.cli.test_replay import write_trace

METHODS = {"ngram": 1e-5, "suffix": 2e-5, "eagle3": 4e-3}  # seconds of a draft token
HEADS = ROOT / "fairdraft" / "data" / "heads"


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made once a session."""
    folder = tmp_path_factory.mktemp("pages")
    loads, contexts = (1, 2, 4, 8, 16), (16, 1024)
    step = CostSurface(
        Point(n, rows, context, (0.02 + 0.0004 * n * rows + 1e-6 * context,))
        for n in loads
        for rows in range(1, 10)
        for context in contexts
    )
    drafters = {
        name: CostSurface(
            Point(n, k, context, (seconds * k,))
            for n in loads
            for k in range(1, 9)
            for context in contexts
        )
        for name, seconds in METHODS.items()
    }
    prefill = CostSurface(
        Point(1, rows, start, (0.02 + 0.0004 * rows + 1e-7 * rows * start,))
        for rows in (16, 512)
        for start in (0, 1024)
    )
    profile = Profile("demo", "bfloat16", benchmark_environment(), step, step, drafters, prefill)
    (folder / "profile.json").write_text(json.dumps(profile.to_json()))
    rates = ("127.9", "128.3", "128.0")
    (folder / "on.log").write_text("".join(ENGINE.format(rate=r) + SPECULATION for r in rates))
    rates = ("342.0", "341.0", "343.5")
    (folder / "off.log").write_text("".join(ENGINE.format(rate=r) for r in rates))
    shutil.copy(ROOT / "benchmarks" / "results" / "bench.json", folder)
    for name, accepted in (("code", 3), ("chat", 1)):
        trace = Path(write_trace(folder / f"{name}.trace", num_accepted=accepted))
        texts = [trace.read_text().replace('"request_id": "', f'"request_id": "{i}') for i in "12"]
        trace.write_text("\n".join(texts))  # six texts
    sweep(folder / "runs")
    shutil.copytree(HEADS / "eagle3", folder / "eagle3" / "head")
    return folder


@pytest.fixture
def workplace(everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder for one test, which runs in it."""
    folder = tmp_path / "workplace"
    shutil.copytree(everything, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def install(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Install the package that a page describes, if it does.

    That is its first Python block, if its docstring begins with a file's name, and the entry points
    in its TOML block.
    """

    def write(page: Path) -> None:
        found = blocks(page.read_text("utf-8"))
        tables = [tomllib.loads(block.text) for block in found if block.language == "toml"]
        points = [
            (group, name, place)
            for table in tables
            for group, entries in table.get("project", {}).get("entry-points", {}).items()
            for name, place in entries.items()
        ]
        if not points:
            return
        code = next(block.text for block in found if block.language == "python")
        module = code.removeprefix('"""').partition(".py:")[0]
        (workplace / f"{module}.py").write_text(code, "utf-8")
        info = workplace / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"[{group}]\n{name} = {place}\n" for group, name, place in points]
        (info / "entry_points.txt").write_text("".join(lines))
        monkeypatch.syspath_prepend(str(workplace))
        monkeypatch.delitem(sys.modules, module, raising=False)

    return write
