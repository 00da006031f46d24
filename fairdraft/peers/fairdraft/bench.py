"""The JSON of `fairdraft bench run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading, Record, number, numbers, parse_json, part, parts
from fairdraft.peers.fairdraft.verbs import VERBS

PREFILL = "prefill is in the step time, of both runs alike"
KEPT = "methods drafted from earlier answers to the same prompts (--keep-memory)"


def load_report(path: Path) -> Record:
    """Read a file that `fairdraft bench run` wrote.

    Returns:
        An object with at least `environment`, `settings` and `cells`.

    Raises:
        ReadingError: it cannot be read, or is something else.
    """
    remedy = "give the JSON file that `fairdraft bench run` wrote"
    try:
        found = parse_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ReadingError(f"{str(path)!r} cannot be read ({why}): {remedy}") from None
    if not isinstance(found, dict) or not {"environment", "settings", "cells"} <= set(found):
        raise ReadingError(f"{str(path)!r} is no result of a benchmark: {remedy}")
    part(found, "environment", str(path))
    return found


def read_bench(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON of `fairdraft bench run`.

    Returns:
        One reading a cell, labelled dataset/method/k=…/n=…; None if it is no such file.

    Raises:
        ReadingError: a field is missing or no number, or there is no cell.
    """
    if len(records) != 1 or not {"settings", "cells"} <= set(records[0]):
        return None
    cells = parts(records[0], "cells", source)
    if not cells:
        raise ReadingError(f"{source!r} holds no cell: the benchmark was cut short; run it again")
    notes = (PREFILL, KEPT) if records[0].get("memory") == "kept" else (PREFILL,)
    return [_cell(cell, source, notes) for cell in cells]


def _cell(cell: Record, source: str, notes: tuple[str, ...]) -> Reading:
    counters, times = part(cell, "counters", source), part(cell, "times", source)
    engine_steps, steps = number(times, "num_steps", source), number(counters, "num_steps", source)
    k, n = number(cell, "k", source), number(cell, "concurrency", source)
    dataset = PurePath(str(cell.get("dataset"))).stem
    return Reading(
        source,
        number(counters, "num_drafts", source),
        number(counters, "num_draft_tokens", source),
        number(counters, "num_accepted_tokens", source),
        numbers(counters, "accepted_per_pos", source),
        number(cell, "tokens_per_second", source),
        steps / engine_steps if engine_steps else n,
        sum(number(times, verb, source) for verb in VERBS) / engine_steps if engine_steps else None,
        drafted_per_position=numbers(counters, "drafted_per_pos", source),
        steps=steps,
        label=f"{dataset}/{cell.get('method')}/k={k:.0f}/n={n:.0f}",
        notes=notes,
        draft_seconds=number(times, "propose", source) / engine_steps if engine_steps else None,
        method=str(cell.get("method")),
    )
