"""What was measured is kept so that a diff can show it, and the docs say what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.constants import RAW, RESULTS
from benchmarks.keeping import read_raw, read_summary, split_rows
from benchmarks.tables.__main__ import PAGES, TABLES, filled

NAMES = sorted(path.stem for path in RESULTS.glob("*.json"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_table_is_what_its_result_gives(page: Path) -> None:
    text = page.read_text()
    assert filled(text) == text


def test_every_table_has_a_place() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_summary_is_short_and_says_where_it_was_measured(name: str) -> None:
    assert len((RESULTS / f"{name}.json").read_text().splitlines()) < 300
    environment = read_summary(name)["environment"]
    assert {"cpu", "cores", "git_commit", "date"} <= set(environment)


def test_raw_samples_lie_beside_their_summaries() -> None:
    raw = [path.name.removesuffix(".json.gz") for path in RAW.glob("*")]
    assert raw
    assert set(raw) <= set(NAMES)
    for name in raw:
        assert read_raw(name)


def test_rows_are_parted_from_their_samples() -> None:
    rows = [{"k": 1, "seconds": [1.0]}, {"k": 2}]
    assert split_rows(rows, "seconds") == ([{"k": 1}, {"k": 2}], [{"seconds": [1.0]}, {}])
