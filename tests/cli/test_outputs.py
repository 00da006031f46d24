"""Outputs: tried before the work, left as they were; sentences folded at spaces alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.cli.outputs import fold, require_writable
from fairdraft.errors import ConfigError


def test_trying_leaves_no_trace(tmp_path: Path) -> None:
    new, old = tmp_path / "new.json", tmp_path / "old.json"
    old.write_text("kept")
    require_writable(new)
    require_writable(old)
    assert not new.exists()
    assert old.read_text() == "kept"


@pytest.mark.parametrize("name", ["", "no/such/folder/x.json", "a\0b", "x" * 300])
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        require_writable(tmp_path / name)


def test_sentences_are_folded_at_spaces() -> None:
    folded = fold("1 at once: k = 5; " + "k = 3 under 2.85, " * 9, 40, indent=2)
    lines = folded.splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("  1 at")
    assert all(line.startswith("    ") for line in lines[1:])
    assert fold("x" * 50, 40) == "x" * 50
