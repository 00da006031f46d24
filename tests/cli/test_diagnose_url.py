"""`fairdraft diagnose` of servers that run: asked twice, or watched until Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving import plain, serving, speculating

Run = Callable[..., tuple[int, str, str]]

# A shell that starts tests in the background makes them ignore Ctrl-C, which children inherit.
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from fairdraft.cli.main import main; main()"
)


def start(*words: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start a diagnosis as a process of its own, to be interrupted."""
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", START, "diagnose", *words, "--seconds", "0.1"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Press Ctrl-C; return what was still printed, and the errors. The process must end well."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return (out or b"").decode(), err.decode()


def test_two_scrapes_of_each_server(fairdraft: Run) -> None:
    with serving(speculating) as on, serving(plain) as off:
        code, out, err = fairdraft("diagnose", on, "--baseline", off, "--seconds", "0.1")
    assert (code, err) == (0, "")
    assert "step off 10.00 ms step on 15.00 ms" in " ".join(out.split())
    assert "1.50 ≤ 3.00" in out
    assert "Verdict (high confidence): it pays: 2.00 tokens a step, and 1.50 are needed." in out


def test_a_file_is_a_baseline_too_and_none_is_needed(fairdraft: Run, tmp_path: Path) -> None:
    page = tmp_path / "off.prom"
    page.write_text(plain(3))
    with serving(speculating) as on:
        code, out, _ = fairdraft("diagnose", on, "--baseline", str(page), "--seconds", "0.1")
        assert code == 0
        assert "it pays" in out
        code, out, _ = fairdraft("diagnose", on, "--seconds", "0.1")
    assert code == 0
    words = " ".join(out.split())
    assert "pays if a plain step takes more than 7.50 ms at this load" in words
    assert "Next: the same traffic without speculation, as --baseline" in words


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ([speculating(2), speculating(1)], "the server was restarted in between"),
        ([speculating(1), speculating(1)], "nothing was drafted and nothing generated"),
        ([plain(1), plain(2)], "drafted nothing: it was taken without speculation"),
        (["hello"], "no metrics page of vLLM, SGLang or llama.cpp"),
        ([404], "answers 404"),
    ],
)
def test_a_server_that_says_nothing(fairdraft: Run, pages: list[str | int], says: str) -> None:
    with serving(lambda asked: pages[asked - 1]) as url:
        code, out, err = fairdraft("diagnose", url, "--seconds", "0.1")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_wrong_address(fairdraft: Run, tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("hello")
    for words, says in (
        (["http://127.0.0.1:1"], "cannot be reached"),
        (["http://127.0.0.1:1", "--watch"], "cannot be reached"),
        (["127.0.0.1:8000"], "of a server, give http://127.0.0.1:8000"),
        (["localhost:8000/metrics"], "give http://localhost:8000/metrics"),
        ([str(log), "--watch"], "--watch asks a server"),
        (["http://x", "--html", "-"], "a report goes to a file"),
        (["http://x", "--html", str(tmp_path / "no" / "x.html")], "cannot be written"),
        (["http://x", "--watch", "--seconds", "nan"], "wait more than 0"),
    ):
        code, out, err = fairdraft("diagnose", *words)
        assert (code, out) == (2, ""), words
        assert says in err, words


def test_a_watch_prints_a_line_a_window_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    """Files get what a terminal shows, line by line; a restart and a failure end nothing."""
    made = [speculating(i) for i in (1, 2, 3, 1, 2, 2)]

    def answer(asked: int) -> str | int:
        if asked <= len(made):
            return made[asked - 1]
        return 503 if asked == len(made) + 1 else speculating(asked)

    record, report = tmp_path / "x.json", tmp_path / "x.html"
    with serving(answer) as on, serving(plain) as off:
        words = ("--baseline", off, "--json", str(record), "--html", str(report))
        process = start(on, "--watch", *words)
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(8)]
        out, err = finish(process)
    assert err == ""
    assert lines[0] == f"{on}/metrics, every 0.1 s. Ctrl-C ends it.\n"
    for words_ in ("step 15.00 ms", "stand, by position 70%, 30%", "it pays: 2.00 tokens a step"):
        assert words_ in lines[1]
    assert "the server was restarted in between" in lines[3]
    assert "nothing was drafted and nothing generated" in lines[5]
    assert "answers 503" in lines[6]
    assert "tokens a step 2.00" in lines[7]
    assert "step on 15.00 ms" in " ".join(out.split())
    found = json.loads(record.read_text())
    assert found["off"]["step_time"] == pytest.approx(0.01)
    assert len(found["windows"]) >= 2
    assert "Over time" in report.read_text("utf-8")


def test_a_watch_in_a_terminal_shows_a_table() -> None:
    terminal, end = pty.openpty()
    with serving(speculating) as on:
        process = start(on, "--watch", stdout=end)
        os.close(end)
        shown = b""
        while b"last 3" not in shown:
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        try:
            while rest := os.read(terminal, 4096):
                shown += rest
        except OSError:  # the other end is closed
            pass
        process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode()
    for words in ("last window", "KV usage", "70%, 30%", "Next: the same traffic without"):
        assert words in text
    assert text.rstrip().endswith("why not.")


def test_a_watch_that_saw_nothing_says_so(tmp_path: Path) -> None:
    record = tmp_path / "x.json"
    with serving(plain) as on:
        process = start(on, "--watch", "--json", str(record))
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(2)]
        out, err = finish(process)
    assert "drafted nothing" in lines[1]
    assert "Nothing to judge yet" in out
    assert err == ""
    assert not record.exists()
