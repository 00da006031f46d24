"""The report of a diagnosis: one file that any reader can open, and that says what was found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.cli.diagnose_html import page
from fairdraft.economics.planning.case import judge
from fairdraft.peers import Reading, read
from fairdraft.peers.windows import join
from tests.browsers import browserless, faults, headless, show

Run = Callable[..., tuple[int, str, str]]

CASES = Path(__file__).parents[1] / "peers" / "cases"
PAIRS = [
    (f"{name}_on{ending}", f"{name}_off{ending}")
    for name, ending in (
        ("bench_console", ".txt"),
        ("dead", ".log"),
        ("llama", ".json"),
        ("llama", ".log"),
        ("mod", ".log"),
        ("ngram", ".log"),
        ("sgl", ".log"),
        ("sgl_bench", ".jsonl"),
    )
]
PAIRS += [("few_1.log", "few_off.log"), ("few_3.log", "few_off.log")]
ALONE = ["dp_on.log", "llama_simple.log", "ngram_on_085.log", "sgl_response.json", "v0_on.log"]
HOSTILE = '"><script>alert(1)</script>&amp;\u202egol.\x00\x1b[31m\udcff'
VOID = {"meta", "br", "line", "rect", "circle", "polygon", "polyline"}


class Tree(HTMLParser):
    """Checks that every element is closed where it should be, and keeps what was met."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def report(on: Reading, off: Reading | None) -> str:
    return page(judge(on, off))


def every() -> Iterator[tuple[str, str]]:
    """The report of each case by its name."""
    for on, off in PAIRS:
        yield on, report(read(CASES / on), read(CASES / off))
    for name in ALONE:
        yield name, report(read(CASES / name), None)


def test_reports_of_all_cases_are_whole_and_stand_alone() -> None:
    for name, text in every():
        tree = Tree(text)
        assert "script" not in tree.tags, name
        assert not {"src", "href"} & {key for key, _ in tree.attributes}, name
        assert "url(" not in text, name
        assert not re.search(r"\b(nan|inf|None)\b", text), name
        assert tree.tags.count("table") > tree.tags.count("svg") > 0, name
        assert len([key for key, _ in tree.attributes if key == "aria-label"]) == tree.tags.count(
            "svg"
        ), name
        assert 'name="viewport"' in text, name


def test_marks_of_plots_lie_inside_the_picture() -> None:
    for name, text in every():
        for plot in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            found = re.search(r'viewBox="0 0 (\d+) (\d+)"', plot)
            assert found is not None
            width, height = map(int, found.groups())
            for key, limit in (("x", width), ("y", height)):
                places = re.findall(rf' (?:c?{key}|{key}[12])="([-\d.]+)"', plot)
                assert places
                assert all(-0.1 <= float(place) <= limit + 0.1 for place in places), name


def test_it_says_what_the_terminal_says() -> None:
    case = judge(read(CASES / "ngram_on.log"), read(CASES / "ngram_off.log"))
    assert case.found is not None
    words = " ".join(Tree(page(case)).words)
    for sentence in (*case.verdict, *case.advice, *case.notes):
        assert sentence in words
    for finding in case.found.causes:
        assert f"{finding.name}: {finding.share.value:.0%}" in words
    for figure in ("6,181", "44,907", "9.1%", "406.96 ms, worked out", "71%, 57%, 48%"):
        assert figure in words
    assert "What slows it down" in words
    assert "Over time" in words


def test_one_that_pays_and_one_alone() -> None:
    on, off = Reading("on", 1000, 2000, 1500, (850, 650), 100, 1, 0.012, steps=1000), OFF
    assert "What keeps it from more" in report(on, off)
    alone = report(on, None)
    assert "break-even" not in alone
    assert "What slows it down" not in alone
    assert "cannot be told from one run" in alone


OFF = Reading("off", tokens_per_second=100, requests=1, step_seconds=0.01)


def test_what_files_say_cannot_write_into_the_page() -> None:
    on = replace(read(CASES / "few_3.log"), source=HOSTILE, label=HOSTILE, notes=(HOSTILE,))
    off = replace(read(CASES / "few_off.log"), source=HOSTILE)
    text = report(on, off)
    text.encode("utf-8")
    assert not re.search("[\x00\x1b\u202e]", text)
    tree = Tree(text)
    assert "script" not in tree.tags
    assert tree.tags.count("bdi") == 2
    assert any("alert(1)" in word for word in tree.words)


def test_a_file_of_a_hostile_name(fairdraft: Run, tmp_path: Path) -> None:
    bad = b"<script>x</script>\xff".replace(b"/", b"%").decode("utf-8", "surrogateescape")
    log, out = tmp_path / f"{bad}.log", tmp_path / "x.html"
    log.write_bytes((CASES / "few_3.log").read_bytes())
    words = ("--baseline", str(CASES / "few_off.log"))
    code, _, err = fairdraft("diagnose", str(log), *words, "--html", str(out))
    assert (code, err) == (0, "")
    assert "script" not in Tree(out.read_bytes().decode("utf-8")).tags
    code, text, _ = fairdraft("diagnose", str(log), *words, "--json", "-")
    assert code == 0
    assert json.loads(text)["on"]["source"] == str(log)


@settings(max_examples=60, deadline=None)
@given(
    k=st.integers(1, 70),
    rounds=st.integers(1, 10**9),
    rate=st.floats(0, 1),
    idle=st.floats(0, 1e6),
    times=st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)),
)
def test_any_figures_make_a_page(
    k: int, rounds: int, rate: float, idle: float, times: tuple[float, float]
) -> None:
    stood = tuple(rounds * rate ** (i + 1) for i in range(k))
    on = Reading("on", rounds, rounds * k, sum(stood), stood, 50, 1, times[0], steps=rounds + idle)
    off = replace(OFF, step_seconds=times[1])
    text = report(join([on, replace(on, step_seconds=times[1])], "on"), off)
    assert not re.search(r"\b(nan|inf)\b", text)
    Tree(text)


def test_the_same_files_make_the_same_report() -> None:
    on, off = CASES / "dead_on.log", CASES / "dead_off.log"
    assert report(read(on), read(off)) == report(read(on), read(off))


def test_a_report_imports_no_plotting_library(tmp_path: Path) -> None:
    """What takes time to import is what would make a report slow."""
    words = ["diagnose", str(CASES / "dead_on.log"), "--baseline", str(CASES / "dead_off.log")]
    words += ["--html", str(tmp_path / "x.html")]
    code = (
        "import sys; from fairdraft.cli.main import main\n"
        f"try: main({words!r})\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print([n for n in ('matplotlib', 'scipy', 'torch', 'httpx', 'prometheus_client')"
        " if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless() as driver:
        yield driver


@pytest.mark.skipif(browserless() is not None, reason=str(browserless()))
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_finds_nothing_amiss(browser: Any, tmp_path: Path, dark: bool) -> None:
    for name in ("ngram_on.log", "llama_on.json"):
        path = tmp_path / "x.html"
        path.write_text(report(read(CASES / name), read(CASES / name.replace("_on", "_off"))))
        for width in (400, 1280):
            show(browser, path, width, dark)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert faults(browser) == []
        clipped = browser.execute_script(
            "return [...document.querySelectorAll('svg text')].filter((each) => {"
            " const box = each.getBBox(), view = each.ownerSVGElement.viewBox.baseVal;"
            " return box.x < -1 || box.x + box.width > view.width + 1"
            " || box.y + box.height > view.height + 1}).map((each) => each.textContent)"
        )
        assert clipped == [], name
        severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert severe == [], name
