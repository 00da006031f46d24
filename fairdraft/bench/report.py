"""A benchmark's results: the JSON that is kept, and the table that is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
)
from rich import box
from rich.markup import escape
from rich.table import Table

from fairdraft.bench.grid import CLEARED, KEPT, NO_SPECULATION, Bench, GridCell
from fairdraft.bench.layout import row_per_line
from fairdraft.bench.measurement import Measurement, record
from fairdraft.errors import ConfigError
from fairdraft.stats.side_by_side import median_ratio
from fairdraft.telemetry import SpecCounters
from fairdraft.telemetry.environment import benchmark_environment

Report = dict[str, Any]

MEMORY = {
    CLEARED: "Each cell began each round without the answers of earlier ones.",
    KEPT: "Memory was kept: rounds and loads repeat the prompts, and methods that remember past "
    "answers (suffix, hybrid, auto) draft from those of earlier rounds. Their figures hold for "
    "traffic that asks the same again, and for no other.",
}


class _Shape(BaseModel):
    """A part of a report, as far as it is read again; what else it holds may be anything."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _EnvironmentShape(_Shape):
    """What a report says of the machine."""

    gpu: str | None
    cpu: str | None
    cores: int | None


class _SettingsShape(_Shape):
    """What a report says of the run."""

    model: str
    dtype: str


class _TimesShape(_Shape):
    """Seconds of a cell's steps."""

    total: NonNegativeFloat
    propose: NonNegativeFloat
    num_steps: PositiveInt


class _CellShape(_Shape):
    """A cell of a report."""

    dataset: str
    method: str
    k: NonNegativeInt
    concurrency: PositiveInt
    speedup: float | None
    counters: SpecCounters
    times: _TimesShape


class _ReportShape(_Shape):
    """A report."""

    environment: _EnvironmentShape
    settings: _SettingsShape
    cells: list[_CellShape]


def report(bench: Bench) -> Report:
    """Return everything there is to keep, with the cells that have at least one finished round.

    Returns:
        `environment`, `settings`, `memory` ("cleared" or "kept" between rounds), `complete`
        (whether no cell was cut short), `prompt_tokens` (of each prompt, by dataset) and `cells`.
        A cell has its settings; `tokens_per_second`, the median over its rounds; `speedup`, the
        median of the rounds' own ratios to method none, None without that; `counters` and `times`,
        summed over its rounds; and `samples`, one per round.
    """
    done = {cell: samples for cell, samples in bench.samples.items() if samples}
    settings = {**bench.model, **asdict(bench.grid)}
    return {
        "environment": benchmark_environment(),
        "memory": settings.pop("memory"),
        "settings": settings,
        "complete": all(len(s) == bench.grid.rounds for s in bench.samples.values()),
        "prompt_tokens": bench.prompt_tokens,
        "cells": [_cell(cell, done) for cell in done],
    }


def _cell(cell: GridCell, samples: Mapping[GridCell, list[Measurement]]) -> Report:
    mine = samples[cell]
    whole = Measurement()
    for sample in mine:
        whole.add(sample)
    return {
        **asdict(cell),
        "tokens_per_second": median(sample.tokens_per_second for sample in mine),
        "speedup": _speedup(mine, samples.get(replace(cell, method=NO_SPECULATION, k=0))),
        "counters": record(whole.counters),
        "times": record(whole.times),
        "samples": [
            asdict(sample) | {"tokens_per_second": sample.tokens_per_second} for sample in mine
        ],
    }


def _speedup(mine: list[Measurement], reference: list[Measurement] | None) -> float | None:
    """Median of the ratios within each round; the last round may be cut short."""
    if not reference:
        return None
    ours, theirs = (
        [sample.tokens_per_second for sample in samples] for samples in (mine, reference)
    )
    both = min(len(ours), len(theirs))
    return median_ratio(ours[:both], theirs[:both])


def table(result: Report) -> Table:
    """Return a table of one line a cell, with a caption that says what was measured."""
    model = escape(result["settings"]["model"])
    show = Table(box=box.SIMPLE, title=f"{model}, medians of rounds", collapse_padding=True)
    show.add_column("dataset", overflow="fold")
    show.add_column("method")
    for name in ("n", "k", "tok/s", "speedup", "length", "rate", "tok/step", "overhead"):
        show.add_column(name, justify="right")
    show.caption = (
        "n: requests at once. length: mean acceptance length. rate: accepted / drafted. "
        "tok/step: per request. overhead: share of the time outside the model's run. "
        + MEMORY[result["memory"]]
    )
    for cell in result["cells"]:
        counters, speculating = cell["counters"], cell["method"] != NO_SPECULATION
        show.add_row(
            escape(Path(cell["dataset"]).stem),
            escape(cell["method"]),
            str(cell["concurrency"]),
            str(cell["k"]),
            f"{cell['tokens_per_second']:.1f}",
            "–" if cell["speedup"] is None else f"{cell['speedup']:.2f}",
            f"{counters['mean_acceptance_length']:.2f}" if speculating else "–",
            f"{counters['acceptance_rate']:.0%}" if speculating else "–",
            f"{counters['tokens_per_step']:.2f}",
            f"{cell['times']['overhead']:.0%}",
        )
    return show


def write_report(result: Report, path: Path) -> None:
    """Write a report as JSON, one cell a line."""
    path.write_text(row_per_line(result) + "\n", encoding="utf-8")


def read_report(path: Path) -> Report:
    """Return what `bench run` wrote.

    Raises:
        ConfigError: the file cannot be read, or is something else.
    """
    remedy = "give the JSON file that `fairdraft bench run` wrote"
    try:
        text = path.read_text("utf-8")
        result: Any = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read ({error}): {remedy}") from None
    try:
        _ReportShape.model_validate_json(text)  # strict, as JSON means it
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise ConfigError(
            f"{str(path)!r} is no result of a benchmark ({place}: {first['msg']}): {remedy}"
        ) from None
    loaded: Report = result
    return loaded
