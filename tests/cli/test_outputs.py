"""Outputs are tried without being touched, and every failure at them has a sentence and a code."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fairdraft.cli.outputs import exit_codes, fold, require_folder, require_writable, write_output
from fairdraft.errors import ConfigError


def test_trying_leaves_things_as_they_are(tmp_path: Path) -> None:
    old, new, folder = tmp_path / "old", tmp_path / "new", tmp_path / "a" / "b"
    old.write_text("kept")
    require_writable("--out", old)
    require_writable("--out", new)
    require_folder("--out", folder)
    assert old.read_text() == "kept"
    assert [each.name for each in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("place", ["", "/nowhere/x", "old/x", "\0", "x" * 300])
def test_what_cannot_be_written_is_told(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").touch()
    with pytest.raises(ConfigError, match=r"--svg is .* which cannot be written"):
        require_writable("--svg", Path(place))


@pytest.mark.parametrize("place", ["old", "old/x"])
def test_a_folder_that_cannot_be_made_is_told(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").touch()
    with pytest.raises(ConfigError, match=r"--out is .* which cannot be written"):
        require_folder("--out", Path(place))


def test_sentences_are_folded_at_spaces() -> None:
    folded = fold("1 at once: k = 5; " + "k = 3 under 2.85, " * 9, 40, indent=2)
    lines = folded.splitlines()
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("  1 at")
    assert all(line.startswith("    ") for line in lines[1:])
    assert fold("x" * 50, 40) == "x" * 50


def test_a_disk_that_is_full_when_the_work_is_done() -> None:
    with pytest.raises(ConfigError, match="No space left on device"):
        write_output("--out", Path("/dev/full"), lambda path: path.write_text("x"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("k is 0"), "error: k is 0\n"),
        (RecursionError(), "error: the input is nested too deeply to be read: flatten it\n"),
        (MemoryError(), "error: there is not enough memory"),
        (PermissionError(13, "Permission denied", "x.json"), "write 'x.json' (Permission denied)"),
    ],
)
def test_errors_end_with_a_sentence_and_code_2(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, exit_codes():
        raise error
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("raised", "code"), [(SystemExit(1), 1), (KeyboardInterrupt(), 130)])
def test_verdicts_and_interrupts_keep_their_codes(raised: BaseException, code: int) -> None:
    with pytest.raises(SystemExit) as end, exit_codes():
        raise raised
    assert end.value.code == code


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError), exit_codes():
        raise KeyError("a bug")


def test_a_reader_that_went_away_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fairdraft prove | head -1`: silence and code 2."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as end, exit_codes():
            print("x", flush=True)
        monkeypatch.undo()
    assert end.value.code == 2
