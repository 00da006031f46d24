"""`fairdraft prove` prints the whole proof, and would say so if it did not hold."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from fairdraft.proof import cases as proof_cases
from fairdraft.proof.cases import cases
from fairdraft.proof.mutants import mutants

Run = Callable[..., tuple[int, str, str]]


def test_the_table_is_all_zeros_and_the_mistakes_are_not(
    fairdraft: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = fairdraft("prove", "--worlds", "1")
    assert code == 0
    for case in cases():
        (line,) = (
            x
            for x in out.splitlines()
            if x.startswith(f" {case.rule} ") and case.drafter in x and f" {case.stopping} " in x
        )
        assert line.split()[-5:] == ["0"] * 5
    for mutant in mutants():
        (line,) = (x for x in out.splitlines() if mutant.name in x)
        assert float(line.split()[-1]) > 0.01
    assert max(map(len, out.splitlines())) <= 80
    assert "never less in 3 worlds: True" in out


def test_a_proof_that_fails_is_told(fairdraft: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_cases, "largest", lambda *_: Fraction(1, 7))
    code, out, _ = fairdraft("prove", "--worlds", "1")
    assert code == 1
    assert "The proof does not hold" in out
