"""`fairdraft inspect` names a file's kind, target and cost, and refuses what does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fairdraft.cli.main import main
from tests.conftest import write_tiny
from tests.heads.cases import MOST, write_medusa
from tests.heads.conftest import write_head

__all__ = ["write_head"]


@pytest.fixture
def llama(tmp_path: Path) -> str:
    """The target that the heads are made for."""
    return str(write_tiny(tmp_path, "llama"))


def say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["inspect", *words])
    found = capsys.readouterr()
    return int(caught.value.code or 0), found.out + found.err


def test_what_it_says(
    llama: str, write_head: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = say(capsys, str(write_head()), "--model", llama)
    assert code == 0
    for words in ("eagle3", "made for", "tiny", "[1, 2, 3]", "speculators", "96", "c by bytes"):
        assert words in text


def test_a_head_of_another_network_does_not_fit(
    llama: str, write_head: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "head"
    shutil.copytree(write_head(), folder)
    config = json.loads((folder / "config.json").read_text())
    verifier = config["speculators_config"]["verifier"]
    for architectures, fits in ((["Qwen3ForCausalLM"], False), (["LlamaForCausalLM"], True)):
        verifier["architectures"] = architectures
        (folder / "config.json").write_text(json.dumps(config))
        code, text = say(capsys, str(folder), "--model", llama)
        words = " ".join(text.split())
        assert code == 0
        assert ("no: its shapes do, but it was made for a Qwen3ForCausalLM" in words) is not fits


def test_medusa_heads_are_counted(
    llama: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "medusa"
    write_medusa(folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_heads": 2}))
    code, text = say(capsys, str(folder), "--model", llama)
    assert code == 0, text
    assert f"{MOST} by its tensors, which count; 2 by its config.json" in " ".join(text.split())


def test_the_folder_that_train_was_given(
    llama: str, write_head: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(write_head(), tmp_path / "out" / "head")
    code, text = say(capsys, str(tmp_path / "out"), "--model", llama)
    assert code == 0
    assert "eagle3" in text


def test_a_file_is_told_with_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "some.json").write_text("{}")
    code, text = say(capsys, str(tmp_path / "some.json"))
    assert code == 2
    assert f"is a file: give the folder that it lies in, {str(tmp_path)!r}" in text


def test_the_option_of_old_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = say(capsys, "somewhere", "--target", "demo")
    assert (code, "the option is called --model now" in text) == (2, True)


def test_a_target_that_does_not_fit(
    write_head: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = say(capsys, str(write_head()), "--model", "demo")
    assert code == 2
    assert "hidden size of the target is 64" in text
