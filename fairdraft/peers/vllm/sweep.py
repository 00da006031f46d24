"""The folder of a `vllm bench sweep serve` (vLLM 0.32): one run a file, its parameters in it.

    EXPERIMENT/SERVE--num_speculative_tokens=3-BENCH--max_concurrency=8/run=0.json
    EXPERIMENT/SERVE--…/summary.json       the same runs again, in one list
    EXPERIMENT/SERVE--…/warmup.json        left out, as are *.failure.json
    EXPERIMENT/summary.csv

A run's file is the JSON of `vllm bench serve` with the serve and bench parameters added to it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, parse_json
from fairdraft.peers.vllm.bench import read_bench

Parameters = dict[str, Any]

# What the benchmark writes itself; whatever else stands in a run's file was swept.
_RESULTS = re.compile(
    r"^((mean|median|std|p[\d.]+|probe|spec_decode|diffusion|max_output|ramp_up)_.*|.*_throughput|"
    r"date|endpoint_type|backend|label|model_id|tokenizer_id|num_prompts|request_rate|burstiness|"
    r"max_concurrency|duration|completed|failed|total_.*|request_goodput|.*_lens|ttfts|itls|"
    r"latencies|start_times|queue_times|generated_texts|errors|max_concurrent_requests|rtfx|"
    r"rps_change_events|run_number)$"
)
_LOAD = ("request_rate", "max_concurrency")  # the benchmark's own, but swept as a rule


def read_sweep(folder: Path) -> list[tuple[Parameters, Reading]]:
    """Read every run of a sweep, with the parameters it ran under.

    Args:
        folder: of the experiment, or of one combination in it.

    Returns:
        In the order of folders and runs. Parameters hold what was swept, and the load
        (`request_rate`, `max_concurrency`) where it was limited.

    Raises:
        ReadingError: it is no folder, holds no finished run, or a run's file is broken.
    """
    if not folder.is_dir():
        raise ReadingError(
            f"{str(folder)!r} is no folder: give the one that `vllm bench sweep serve` wrote"
        )
    files = sorted({*folder.glob("run=*.json"), *folder.glob("*/run=*.json")}, key=_order)
    files = [path for path in files if not path.name.endswith(".failure.json")]
    if not files:
        raise ReadingError(
            f"{str(folder)!r} holds no finished run of a sweep (no */run=0.json): give the folder "
            "OUTPUT_DIR/EXPERIMENT of `vllm bench sweep serve`, after a run of it has ended well"
        )
    return [_read_run(path, folder) for path in files]


def _order(path: Path) -> tuple[Path, int]:
    digits = re.search(r"run=(\d+)", path.name)
    return path.parent, int(digits[1]) if digits else 0


def _read_run(path: Path, folder: Path) -> tuple[Parameters, Reading]:
    source = str(path)
    try:
        record: Any = parse_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ReadingError(
            f"{source!r} is no JSON ({error}): the sweep was cut short; run it with --resume"
        ) from None
    found = read_bench([record], source) if isinstance(record, dict) else None
    if found is None:
        raise ReadingError(
            f"{source!r} lacks 'output_throughput': it is no result of `vllm bench serve`"
        )
    label = str(path.relative_to(folder).with_suffix(""))
    return _parameters(record, path.parent.name), replace(found[0], label=label)


def _parameters(record: Record, name: str) -> Parameters:
    swept = {
        key: value
        for key, value in record.items()
        if not _RESULTS.match(key) or f"{key}={value}" in name
    }
    load = {key: record[key] for key in _LOAD if record.get(key) not in (None, "inf")}
    return {**load, **swept}
