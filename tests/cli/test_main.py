"""The command line as a process: its list of verbs, outputs that cannot be written, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fairdraft.cli.main import VERBS, load

CLI = "import sys; from fairdraft.cli.main import main; main(sys.argv[1:])"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_of_the_list_is_there(name: str) -> None:
    assert load(name).help


def test_the_list_of_verbs_loads_none_of_them() -> None:
    code = "import sys; from fairdraft.cli.main import app\ntry: app(['--help'])\nfinally:"
    code += " print([m for m in sys.modules if m.startswith('fairdraft.cli.') and m not in "
    code += "('fairdraft.cli.main', 'fairdraft.cli.outputs')], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert all(verb.summary in done.stdout for verb in VERBS.values())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", CLI, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_gone_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CLI, "prove", "--worlds", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.wait()
    assert "Traceback" not in err
    assert "Exception ignored" not in err
