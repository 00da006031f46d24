"""Files of the wrong kind are told apart, and say what to give instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_all


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"hello", "nothing that is known here"),
        (b"\x7fELF\0\1\2", "is binary"),
        (b"\xff\xfe\xfd", "nothing that is known here"),
        (b'{"output_throughput": 12', "cut off or broken"),
        (b'{"a": 1}', "JSON with the fields a, which is nothing that is known here"),
        (b'{"choices": [], "usage": {"completion_tokens": 9}}', "without any count of drafts"),
        (b'[{"a": 1}, {"a"', "cut off or broken"),
        (b"[]", "nothing that is known here"),
        (b"[1, 2]", "nothing that is known here"),
        (b"[2026-11-01 10:00:00] starting\n", "nothing that is known here"),
    ],
)
def test_files_of_the_wrong_kind(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ReadingError, match=says) as caught:
        read_all(path)
    assert str(path) in str(caught.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere#k=4", "nowhere,neither"):
        with pytest.raises(ReadingError, match="cannot be read"):
            read(str(tmp_path / name))


def test_a_name_may_hold_the_signs_that_choose(tmp_path: Path) -> None:
    path = tmp_path / "k=4,n=8#1.log"
    path.write_text("Avg generation throughput: 20.0 tokens/s, Running: 2 reqs")
    assert read(path).step_time == pytest.approx(0.1)


def test_a_label_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("Avg generation throughput: 20.0 tokens/s, Running: 2 reqs")
    with pytest.raises(ReadingError, match="has no 'k=4': it holds one measurement"):
        read(f"{path}#k=4")


CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("other", ["sgl_on.log", "llama_on.log", "bench_console_on.txt"])
def test_what_two_programs_wrote_is_not_taken_for_one_s(tmp_path: Path, other: str) -> None:
    path = tmp_path / "x.log"
    parts = [(CASES / name).read_text() for name in ("ngram_on.log", other)]
    for text in ("".join(parts), "".join(reversed(parts))):
        path.write_text(text)
        with pytest.raises(ReadingError, match=r"several programs wrote .*give each a file"):
            read(path)


WINDOW = "Avg generation throughput: 20.0 tokens/s, Running: 2 reqs\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_what_windows_shells_write(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.log"
    mark = "\ufeff" if encoding.endswith("e") else ""
    path.write_bytes((mark + WINDOW).encode(encoding))
    assert read(path).step_time == pytest.approx(0.1)
    path.write_bytes((mark + '{"predicted_n": 11, "predicted_ms": 100.0}').encode(encoding))
    assert read(path).step_time == pytest.approx(0.01)


def test_files_too_large_to_read(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)  # takes no room
    with pytest.raises(ReadingError, match="give a part of it"):
        read(path)
