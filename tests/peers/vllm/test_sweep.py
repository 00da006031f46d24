"""A sweep's folder, laid out as vLLM 0.32 writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairdraft.errors import ReadingError
from fairdraft.peers import read, read_all, read_sweep


def run(folder: Path, name: str, **fields: object) -> None:
    """One file of a run; its parameters stand in it beside the results."""
    folder.mkdir(exist_ok=True)
    record = {
        "date": "20261101-120000",
        "request_rate": "inf",
        "max_concurrency": None,
        "num_prompts": 32,
        "completed": 32,
        "output_throughput": 100.0,
        "mean_tpot_ms": 10.0,
        "p99_tpot_ms": 11.0,
        "run_number": 0,
    }
    (folder / name).write_text(json.dumps(record | fields))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two draft lengths at two loads, one of them run ten times and more."""
    for k in (0, 3):
        for n in (1, 8):
            name = (
                f"SERVE--speculative_config.num_speculative_tokens={k}-BENCH--max_concurrency={n}"
            )
            parameters = {"speculative_config.num_speculative_tokens": k, "max_concurrency": n}
            for i in range(11 if k and n == 1 else 1):
                run(tmp_path / name, f"run={i}.json", run_number=i, **parameters)
            (tmp_path / name / "summary.json").write_text("[]")
            run(tmp_path / name, "warmup.json", run_number=-1, **parameters)
            (tmp_path / name / "run=99.failure.json").write_text('{"error": "it fell over"}')
    (tmp_path / "summary.csv").write_text("a,b\n")
    return tmp_path


def test_every_run_with_its_parameters(sweep: Path) -> None:
    found = read_sweep(sweep)
    assert len(found) == 3 + 11
    assert found[0][0] == {"speculative_config.num_speculative_tokens": 0, "max_concurrency": 1}
    assert {parameters["max_concurrency"] for parameters, _ in found} == {1, 8}
    assert [reading.requests for _, reading in found[:2]] == [1, 8]
    labels = [reading.label for _, reading in found]
    assert len(set(labels)) == len(labels)
    assert labels[2:5] == [f"{Path(labels[2]).parent}/run={i}" for i in range(3)]
    assert labels[12].endswith("run=10")  # after run=9, not after run=1


def test_named_combinations_and_parameters_of_the_benchmark(tmp_path: Path) -> None:
    run(
        tmp_path / "SERVE--eager-BENCH--num_prompts=32",
        "run=0.json",
        _benchmark_name="eager",
        enforce_eager=True,
        request_rate=2.0,
    )
    ((parameters, _),) = read_sweep(tmp_path)
    assert parameters == {
        "_benchmark_name": "eager",
        "enforce_eager": True,
        "num_prompts": 32,  # swept, for the folder says so
        "request_rate": 2.0,
    }


def test_nothing_swept_lies_in_the_folder_itself(tmp_path: Path) -> None:
    run(tmp_path, "run=0.json")
    assert [parameters for parameters, _ in read_sweep(tmp_path)] == [{}]
    assert read(tmp_path).tokens_per_second == 100


def test_read_takes_one_of_them(sweep: Path) -> None:
    label = read_all(sweep)[0].label
    assert read(f"{sweep}#{label}").label == label
    with pytest.raises(ReadingError, match="holds 14 measurements"):
        read(sweep)


def test_folders_that_are_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="no finished run of a sweep"):
        read_sweep(tmp_path)
    (tmp_path / "warmup.json").write_text("{}")
    (tmp_path / "run=0.failure.json").write_text("{}")
    with pytest.raises(ReadingError, match="no finished run of a sweep"):
        read_sweep(tmp_path)
    with pytest.raises(ReadingError, match="is no folder"):
        read_sweep(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "says"), [('{"output_thr', "cut short"), ('{"a": 1}', "lacks"), ("[]", "lacks")]
)
def test_a_run_s_file_that_is_broken(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "run=0.json").write_text(content)
    with pytest.raises(ReadingError, match=says):
        read_sweep(tmp_path)
