"""The outputs in EXERCISES.md: what stands there, and what the scripts print.

python phase-08-speculative-decoding/exercises/page.py

runs every script and writes what it prints into the page, behind its command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = HERE.parent / "EXERCISES.md"
SHOWN = re.compile(
    r"(?P<command>```\npython phase-08-speculative-decoding/exercises/(?P<script>ex\d\d_\w+\.py)\n"
    r"```\n\n```text\n)(?P<output>.*?)(?P<end>^```$)",
    re.MULTILINE | re.DOTALL,
)


def scripts() -> list[str]:
    """Return the names of the exercises' scripts, in order."""
    return sorted(path.name for path in HERE.glob("ex[0-9][0-9]_*.py"))


def outputs(page: str) -> dict[str, str]:
    """Return the output that a page shows, by script."""
    return {found["script"]: found["output"] for found in SHOWN.finditer(page)}


def run(script: str) -> str:
    """Run a script from the root of the repository, as the page says, and return what it prints.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, str((HERE / script).relative_to(ROOT))]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def refreshed(page: str, printed: Callable[[str], str] = run) -> str:
    """Return a page with the output of every script in it.

    Args:
        page: as it stands.
        printed: a script's name → what it prints.
    """
    return SHOWN.sub(lambda found: found["command"] + printed(found["script"]) + "```", page)


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(refreshed(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
