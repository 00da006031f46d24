"""The same words in every arrangement, small: what `benchmarks.suites.pairwise` does at length."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.suites.identity import SUFFIX_TREES
from benchmarks.suites.pairwise import (
    ARRANGEMENTS,
    METHODS,
    SAMPLINGS,
    Cell,
    Texts,
    covering,
    judged,
    reference,
    write_texts,
)
from benchmarks.tables.proofs import pairwise
from tests.heads.conftest import write_head

__all__ = ["write_head"]

TOKENS = 16
# Repetitions for lookups, equal beginnings for prefix hits, other lengths for everything.
PROMPTS: Texts = [
    [(7 * i * i + 3 * i) % 90 for i in range(20)] + [5, 6, 7, 8] * (2 + i) for i in range(6)
]
OPTIONS = {"dtype": "bfloat16"}
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 1}


def test_every_pair_of_levels_is_in_the_design() -> None:
    factors = (list(METHODS), SAMPLINGS, ARRANGEMENTS)
    design = covering(*factors)
    assert len(design) == len(METHODS) * len(ARRANGEMENTS)  # none could do with fewer
    for (i, first), (j, second) in itertools.combinations(enumerate(factors), 2):
        assert {(levels[i], levels[j]) for levels in design} == set(
            itertools.product(first, second)
        )


@pytest.fixture(scope="module")
def expected(tiny: Callable[[str], Path]) -> dict[str, Texts]:
    """What each text must be, by sampling."""
    return {
        sampling: reference(str(tiny("llama")), sampling, PROMPTS, TOKENS, **OPTIONS)
        for sampling in SAMPLINGS
    }


def row(
    model: Path, cell: Cell, speculative: dict[str, Any] | None, expected: dict[str, Texts]
) -> dict[str, Any]:
    found = write_texts(
        str(model), speculative, cell.sampling, cell.arrangement, PROMPTS, TOKENS, **OPTIONS
    )
    return judged(cell, found, expected[cell.sampling])


@pytest.mark.parametrize(
    ("method", "sampling", "arrangement"),
    covering(["off", "ngram", "suffix trees", "eagle3"], SAMPLINGS, ARRANGEMENTS),
)
def test_texts_are_the_same(
    method: str,
    sampling: str,
    arrangement: str,
    tiny: Callable[[str], Path],
    write_head: Callable[..., Path],
    expected: dict[str, Texts],
) -> None:
    methods: dict[str, dict[str, Any] | None] = {
        "off": None,
        "ngram": NGRAM,
        "suffix trees": SUFFIX_TREES,
        "eagle3": {"method": "eagle3", "model": "", "num_speculative_tokens": 3},
    }
    speculative = methods[method]
    if method == "eagle3" and speculative:
        speculative["model"] = str(write_head())
    found = row(tiny("llama"), Cell(method, sampling, arrangement), speculative, expected)
    assert found["differing"] == []
    assert found["shown"] or method != "eagle3"  # a lookup may find nothing in sampled noise
    if arrangement in ("prefix hits", "preemption"):
        assert found["cached_tokens" if arrangement == "prefix hits" else "preemptions"] > 0


def test_a_draft_that_is_kept_by_decree_is_seen(
    tiny: Callable[[str], Path], expected: dict[str, Texts]
) -> None:
    faulty = {
        **NGRAM,
        "rejection_sample_method": "synthetic",
        "synthetic_acceptance_rates": [1.0] * NGRAM["num_speculative_tokens"],
    }
    cell = Cell("ngram", "greedy", "8 streams")
    found = row(tiny("llama"), cell, faulty, expected)
    assert found["differing"]
    report = {"rows": [found], "prompts": 6, "tokens_per_text": TOKENS, "dtype": "bfloat16"}
    header, (line,), note = pairwise({**report, "differing": len(found["differing"])})
    assert len(line) == len(header)
    assert line[2] == f"{6 - len(found['differing'])} / 6"
    assert f"{len(found['differing'])} texts differ" in note


def test_a_cell_that_shows_nothing_says_so() -> None:
    counts = {"drafted": 3, "accepted": 1, "preemptions": 0, "cached_tokens": 16}
    found = {"texts": [[1], [2]], **counts}
    assert judged(Cell("ngram", "greedy", "chunks"), found, [[1], [2]])["shown"]
    assert judged(Cell("ngram", "greedy", "prefix hits"), found, [[1], [3]])["differing"] == [1]
    assert not judged(Cell("ngram", "greedy", "preemption"), found, [[1], [2]])["shown"]
    assert not judged(Cell("ngram", "greedy", "chunks"), {**found, "drafted": 0}, [[1], [2]])[
        "shown"
    ]
