"""Files as they are damaged on their way: read right, refused, or said to lack something.

Each log here repeats one stretch, so whatever part of it is left says the same of a step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairdraft.errors import ReadingError
from fairdraft.peers import Reading, read, read_all

CASES = Path(__file__).parent / "cases"
VLLM = (
    "INFO 11-02 10:{at} [loggers.py:259] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg "
    "generation throughput: 1000.0 tokens/s, Running: 20 reqs, Waiting: 0 reqs, GPU KV cache "
    "usage: 9.5%, Prefix cache hit rate: 0.5%\n"
    "INFO 11-02 10:{at} [metrics.py:100] SpecDecoding metrics: Mean acceptance length: 2.50, "
    "Accepted throughput: 150.00 tokens/s, Drafted throughput: 300.00 tokens/s, Accepted: 1500 "
    "tokens, Drafted: 3000 tokens, Per-position acceptance rate: 0.700, 0.500, 0.300, Avg Draft "
    "acceptance rate: 50.0%\n"
)
OLD_VLLM = (
    "INFO 11-02 10:{at} [loggers.py:116] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg "
    "generation throughput: 1000.0 tokens/s, Running: 20 reqs, Waiting: 0 reqs, GPU KV cache "
    "usage: 9.5%, Prefix cache hit rate: 0.5%\n"
    "INFO 11-02 10:{at} [metrics.py:86] SpecDecoding metrics: Draft acceptance rate: 50.0%, Mean "
    "acceptance length: 1.50, Accepted: 1500 tokens, Drafted: 3000 tokens, Per-position acceptance "
    "rate: 0.700, 0.500, 0.300\n"
)
SGLANG = (
    "[2026-10-22 10:{at} TP0] Decode batch. #running-req: 2, #token: 188, token usage: 0.00, "
    "accept len: 2.50, accept rate: 0.50, cuda graph: True, gen throughput (token/s): 250.00, "
    "#queue-req: 0, \n"
)
LLAMA = (
    "0.06.895.980 I slot print_timing: id  1 | task {i} | prompt eval time =     300.11 ms /    20 "
    "tokens (   15.01 ms per token,    66.64 tokens per second)\n"
    "0.06.895.998 I slot print_timing: id  1 | task {i} |        eval time =    2290.00 ms /   250 "
    "tokens (    9.16 ms per token,   109.17 tokens per second)\n"
    "0.06.896.015 I slot print_timing: id  1 | task {i} | draft acceptance = 0.64000 (  160 "
    "accepted /   250 generated), mean acceptance length =  2.90, acceptance rate per position = "
    "(0.810, 0.630, 0.460)\n"
)
LOGS = {"vllm": VLLM, "vllm before 0.9": OLD_VLLM, "sglang": SGLANG, "llama.cpp": LLAMA}
PIECES = 12


def make(kind: str) -> str:
    pieces = []
    for i in range(PIECES):
        at = f"{10 * i // 60:02d}:{10 * i % 60:02d}"
        pieces.append(LOGS[kind].format(at=at, i=i))
    return "".join(pieces)


def figures(found: Reading) -> tuple[float, ...]:
    return (
        found.acceptance_length,
        found.k,
        found.step_time or 0.0,
        found.draft_share,
        *found.survivals,
    )


DRAFTS = (b"SpecDecoding", b"accept len", b"draft acceptance")
LEFT_OUT = ("left out", "count as without", "count as rounds", "twice")
BIASED = ("count as without", "count as rounds")


def right_or_said(path: Path, content: str | bytes, truth: Reading) -> None:
    """Insist that a damaged log is refused, says the same, or says what it lacks."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if not any(words in path.read_bytes() for words in DRAFTS):
        return  # nothing of drafts is left, as in a log without speculation
    try:
        found = read(path)
    except ReadingError:
        return
    least = figures(truth) if found.survivals else figures(truth)[:4]
    same = figures(found) == pytest.approx(least, rel=0.02)
    said = any(words in note for note in found.biases for words in LEFT_OUT)
    assert same or said, (figures(found), figures(truth), found.biases)
    if not any(words in note for note in found.biases for words in BIASED):
        assert same, (figures(found), figures(truth), found.biases)


@pytest.fixture(params=LOGS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def truth(kind: str, tmp_path: Path) -> Reading:
    path = tmp_path / "truth.log"
    path.write_text(make(kind))
    found = read(path)
    assert not any(words in note for note in found.biases for words in LEFT_OUT)
    return found


often = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

PREFIXES: dict[str, Callable[[int], str]] = {
    "docker compose": lambda i: "vllm-server-1  | ",
    "docker -t": lambda i: f"2026-11-02T09:59:{i % 60:02d}.123456789Z ",
    "kubectl": lambda i: "[pod/vllm-7d9c-abcde/vllm] ",
    "kubectl with times": lambda i: f"[pod/vllm-0/vllm] 2026-11-02T09:{i % 60:02d}:01.5Z ",
    "journald": lambda i: f"Nov 02 09:59:{i % 60:02d} gpu-host-17 vllm[4711]: ",
    "systemd, exact": lambda i: f"Nov 02 09:59:{i % 60:02d}.000{i % 10} gpu1 python3[4711]: ",
    "pid": lambda i: "\x1b[1;36m(APIServer pid=1)\x1b[0;0m ",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_collectors_prefixes(kind: str, truth: Reading, tmp_path: Path, prefix: str) -> None:
    lines = make(kind).splitlines(True)
    path = tmp_path / "x.log"
    path.write_text("".join(PREFIXES[prefix](i) + line for i, line in enumerate(lines)))
    assert figures(read(path)) == pytest.approx(figures(truth))
    assert read(path).seconds == pytest.approx(truth.seconds or 0)


def test_docker_s_own_files(kind: str, truth: Reading, tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    lines = make(kind).splitlines(True)
    path.write_text("".join(json.dumps({"log": each, "stream": "stderr"}) + "\n" for each in lines))
    assert figures(read(path)) == pytest.approx(figures(truth))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_encodings_and_ends_of_lines(
    kind: str, truth: Reading, tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "x.log"
    text = "Zürich: ready\r\n" + make(kind).replace("\n", "\r\n")
    path.write_bytes(text.encode(encoding))
    assert figures(read(path)) == pytest.approx(figures(truth))


@often
@given(st.data())
def test_lines_cut_off(kind: str, truth: Reading, tmp_path: Path, data: st.DataObject) -> None:
    lines = make(kind).splitlines(True)
    for i in data.draw(st.lists(st.integers(0, len(lines) - 1), min_size=1, max_size=6)):
        end = data.draw(st.integers(0, len(lines[i])))
        lines[i] = lines[i][:end].rstrip("\n") + "\n"
    right_or_said(tmp_path / "x.log", "".join(lines), truth)


@often
@given(st.data())
def test_lines_lost_doubled_and_run_into_one_another(
    kind: str, truth: Reading, tmp_path: Path, data: st.DataObject
) -> None:
    lines = make(kind).splitlines(True)
    for _ in range(data.draw(st.integers(1, 5))):
        i = data.draw(st.integers(0, len(lines) - 2))
        how = data.draw(st.sampled_from(["lose", "double", "interleave", "join"]))
        if how == "lose":
            lines[i] = ""
        elif how == "double":
            lines[i] *= 2
        elif how == "join":
            lines[i] = lines[i].rstrip("\n")
        else:
            cut = data.draw(st.integers(0, len(lines[i])))
            lines[i] = lines[i][:cut] + lines[i + 1] + lines[i][cut:]
            lines[i + 1] = ""
    right_or_said(tmp_path / "x.log", "".join(lines), truth)


@often
@given(st.data())
def test_files_cut_off_at_either_end(
    kind: str, truth: Reading, tmp_path: Path, data: st.DataObject
) -> None:
    text = make(kind)
    start, end = sorted(data.draw(st.integers(0, len(text))) for _ in range(2))
    right_or_said(tmp_path / "x.log", text[start:end], truth)


@often
@given(st.data())
def test_wrong_bytes(kind: str, truth: Reading, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(make(kind).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(128, 255))
    right_or_said(tmp_path / "x.log", bytes(content), truth)


def test_decimals_of_another_place(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(re.sub(r"(?<=\d)\.(?=\d)", ",", make(kind)))
    with pytest.raises(ReadingError, match=r"cut off|decimals"):
        read(path)


def test_the_whole_twice(kind: str, truth: Reading, tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(make(kind) * 2)
    found = read(path)
    assert (found.rounds, found.seconds) == pytest.approx((truth.rounds, truth.seconds or 0))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_case_damaged_anyhow(tmp_path: Path, data: st.DataObject) -> None:
    """Never anything but a reading or its own error, whatever stands in the file."""
    case = data.draw(st.sampled_from(sorted(CASES.iterdir())))
    content = case.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        how = data.draw(st.sampled_from(["cut", "drop", "repeat", "digits", "noise"]))
        i, j = sorted(data.draw(st.integers(0, len(content))) for _ in range(2))
        if how == "cut":
            content = content[:j]
        elif how == "drop":
            content = content[:i] + content[j:]
        elif how == "repeat":
            content = content[:j] + content[i:]
        elif how == "digits":
            content = (
                content[:i] + data.draw(st.sampled_from([b"9", b"-1", b"e9", b","])) + content[j:]
            )
        else:
            content = content[:i] + data.draw(st.binary(max_size=8)) + content[i:]
    path = tmp_path / case.name
    path.write_bytes(content)
    try:
        found = read_all(path)
    except ReadingError:
        return
    for each in found:
        assert each.acceptance_length >= 1
        assert 0 <= each.draft_share <= 1
        assert each.step_time is None or each.step_time >= 0
