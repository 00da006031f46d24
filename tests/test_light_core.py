"""The light core: its modules and verbs run where torch, transformers and numba do not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "fairdraft"
HEAVY = ("torch", "transformers", "numba")
ROOMS = (
    "draft",
    "errors",
    "economics/costs",
    "economics/equations",
    "economics/planning",
    "peers",
    "proof",
    "stats",
    "verification",
)
VERBS = ("diagnose", "plan", "prove", "reconcile", "replay")
# What is None in sys.modules cannot be imported: as if it were not installed.
HIDE = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
CLI = "from fairdraft.cli.main import main; main(sys.argv[1:])"

LOG = "Avg generation throughput: {rate} tokens/s, Running: 1 reqs\n"
DRAFTED = (
    "SpecDecoding metrics: Mean acceptance length: 1.97, Accepted: 630 tokens, "
    "Drafted: 652 tokens, Per-position acceptance rate: 0.966\n"
)


def python(code: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False
    )


def modules() -> list[str]:
    found = ["fairdraft", "fairdraft.economics", "fairdraft.cli.main"]
    for room in ROOMS:
        place = ROOT / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for path in files:
            parts = path.relative_to(ROOT.parent).with_suffix("").parts
            found.append(".".join(parts).removesuffix(".__init__"))
    return found


def test_every_module_is_imported_without_the_engine() -> None:
    code = HIDE + "import importlib, json\nfor name in json.loads(sys.argv[1]):\n"
    done = python(code + "    importlib.import_module(name)\n", json.dumps(modules()))
    assert done.returncode == 0, done.stderr


def test_importing_them_brings_no_scipy_either() -> None:
    """scipy takes longer to import than a diagnosis: each function imports what it needs of it."""
    code = "import importlib, json, sys\nfor name in json.loads(sys.argv[1]):\n"
    code += "    importlib.import_module(name)\n"
    code += f"print([name for name in ('scipy', *{HEAVY!r}) if name in sys.modules])"
    done = python(code, json.dumps(modules()))
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_a_light_verb_explains_itself_without_the_engine(verb: str) -> None:
    done = python(HIDE + CLI, verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_diagnosis_needs_neither_engine_nor_scipy(tmp_path: Path) -> None:
    on, off = tmp_path / "on.log", tmp_path / "off.log"
    on.write_text(LOG.format(rate=128.0) + DRAFTED)
    off.write_text(LOG.format(rate=342.0))
    hide = HIDE + "sys.modules['scipy'] = None\n"
    done = python(hide + CLI, "diagnose", on, "--baseline", off)
    assert done.returncode == 0, done.stderr
    assert "Likely cause" in done.stdout


@pytest.mark.parametrize("verb", [("generate", "hi"), ("inspect", "x"), ("profile",)])
def test_a_verb_that_needs_the_engine_says_which_extra(verb: tuple[str, ...]) -> None:
    done = python(HIDE + CLI, *verb)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert 'pip install "fairdraft[engine]"' in done.stderr
    assert done.stderr.count("\n") == 1
