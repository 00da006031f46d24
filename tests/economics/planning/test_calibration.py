"""Verdicts on what people paste, on runs provoked on purpose, and on made-up fleets."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.fleets import judging
from benchmarks.fleets.causes import CAUSES
from benchmarks.fleets.draw import draw
from fairdraft.economics.planning import losses
from fairdraft.economics.planning.diagnosis import Diagnosis, diagnose
from fairdraft.peers import read

SEEDS = (17, 21, 30, 37)  # every engine's print, and few steps
HERE = Path(__file__).parent
CASES = HERE.parents[1] / "peers" / "cases"


def pasted(on: str, off: str) -> Diagnosis:
    return diagnose(read(CASES / on), read(CASES / off))


def test_identical_windows_do_not_change_a_verdict() -> None:
    found = [pasted(f"few_{count}.log", "few_off.log") for count in (1, 2, 3)]
    assert {each.findings[0].name for each in found} == {losses.WORKLOAD}
    assert {each.confidence for each in found} == {"high"}
    widths = [each.gain.high - each.gain.low for each in found]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("on", "off", "cause"),
    [
        ("ngram_on.log", "ngram_off.log", losses.WORKLOAD),
        ("ngram_on_085.log", "ngram_off.log", losses.WORKLOAD),
        ("dead_on.log", "dead_off.log", losses.MISMATCH),
        ("mod_on.log", "mod_off.log", losses.WORKLOAD),
    ],
)
def test_what_people_paste(on: str, off: str, cause: str) -> None:
    assert pasted(on, off).findings[0].name == cause


@pytest.mark.parametrize("cause", CAUSES)
def test_a_run_that_was_provoked(cause: str, tmp_path: Path) -> None:
    """Step traces of this engine and the demo model (`benchmarks/suites/provoked.py`)."""
    readings = []
    for name in ("on", "off"):
        path = tmp_path / f"{name}.jsonl"
        packed = HERE / "runs" / f"{cause.replace(' ', '_')}-{name}.jsonl.gz"
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        readings.append(read(path))
    found = diagnose(*readings)
    assert found.findings[0].name == cause
    assert found.gain.low < 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_made_up_fleet(seed: int, tmp_path: Path) -> None:
    """A few of those that `benchmarks/suites/calibration.py` counts."""
    fleet = draw(seed)
    on, off = fleet.save(tmp_path)
    case = judging.judge(seed, fleet.cause, fleet.engine, fleet.windows, on, off)
    assert case.right


@pytest.mark.parametrize(
    ("cause", "engine", "name", "hides", "right"),
    [
        (losses.MISMATCH, "vllm log", losses.MISMATCH, (), True),
        (losses.MISMATCH, "vllm log", losses.WORKLOAD, (losses.MISMATCH,), False),  # it is shown
        (losses.DRAFTING, "vllm log", losses.STEP, (losses.DRAFTING,), True),
        (losses.DRAFTING, "vllm log", losses.STEP, (), False),
        (losses.STEP, "vllm log", losses.STEP, (), False),  # surer than the file is
        (losses.STEP, "vllm log", losses.STEP, (losses.DRAFTING,), True),
        (losses.PREEMPTION, "vllm log", losses.UNKNOWN, (), True),
        (losses.STEP, "vllm log", losses.UNKNOWN, (), False),
        (losses.PREEMPTION, "vllm metrics", losses.UNKNOWN, (), False),
    ],
)
def test_what_counts_as_right(
    cause: str, engine: str, name: str, hides: tuple[str, ...], right: bool
) -> None:
    assert judging.verdict_of(cause, engine, name, hides)[1] is right
