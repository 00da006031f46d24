"""Files of any known engine: which reader understands one is found out from what is in it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairdraft.errors import ReadingError
from fairdraft.peers import metrics
from fairdraft.peers.base import Reading, Record, parse_json
from fairdraft.peers.formats import JSON_FORMATS, TEXT_FORMATS
from fairdraft.peers.lines import lines
from fairdraft.peers.sse import read_stream
from fairdraft.peers.vllm.sweep import read_sweep

JSON = re.compile(r"\s*(\{|\[\s*[\]{])")  # a log may begin with [2026-11-01
KNOWN = (
    "give a log of vLLM, SGLang or llama.cpp, what `vllm bench serve` printed or wrote, lines of "
    "SGLang's benchmarks or its /server_info, a saved /metrics page, answers (or streams of them) "
    "with counts, an export of AIPerf or GuideLLM, TensorRT-LLM's iteration statistics, or a "
    "result or step trace of fairdraft; docs/formats.md says what is read of each"
)
LARGEST = 1 << 30  # bytes
LARGEST_JSON = 1 << 28  # its objects take ten times as much room
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read(source: str | Path) -> Reading:
    """Read one measurement, whichever kind it is.

    Args:
        source: a file; FILE#LABEL for one of several in it; BEFORE,AFTER for two metrics pages.

    Raises:
        ReadingError: it is not there, no reader understands it, or it holds several measurements
            and none is chosen.
    """
    name, label = str(source), None
    if not Path(name).exists():
        before, comma, after = name.partition(",")
        if "#" in name:  # first, for a label may hold commas
            name, _, label = name.rpartition("#")
        elif comma:
            return metrics.read_metrics(_text(Path(before)), _text(Path(after)), None, name)
    found = read_all(name)
    if label is not None:
        found = [reading for reading in found if reading.label == label] or found
        if found[0].label != label:
            there = _choose(found) or "it holds one measurement, and needs no '#'"
            raise ReadingError(f"{name!r} has no {label!r}: {there}")
    if len(found) > 1:
        raise ReadingError(
            f"{name!r} holds {len(found)} measurements: put '#' and one of them behind it: "
            f"{_choose(found)}"
        )
    return found[0]


def read_all(path: str | Path) -> list[Reading]:
    """Read every measurement in a file, or in the folder of a `vllm bench sweep`.

    Raises:
        ReadingError: it is not there, or no reader understands it.
    """
    path = Path(path)
    if path.is_dir():
        return [reading for _, reading in read_sweep(path)]
    text, source = _text(path), str(path)
    records = read_stream(text, source) or _records(text)
    found: list[Reading] | None = None
    if isinstance(records, list):
        found = next(
            (each for form in JSON_FORMATS if (each := form.reader(records, source))), None
        )
    else:
        found = _log(text, source)
    if found is not None:
        return found
    if isinstance(records, str):
        raise ReadingError(
            f"{source!r} is JSON that is cut off or broken ({records}): write it anew"
        )
    if isinstance(records, list):
        fields = ", ".join(sorted(records[0])[:8]) or "none"
        raise ReadingError(
            f"{source!r} is JSON with the fields {fields:.200}, which is nothing that is known "
            f"here: {KNOWN}"
        )
    raise ReadingError(f"{source!r} is nothing that is known here: {KNOWN}")


def _log(text: str, source: str) -> list[Reading] | None:
    """Return what the one reader that understands a text reads in it.

    Raises:
        ReadingError: that reader refuses it, or two understand it.
    """
    found: dict[str, list[Reading]] = {}
    for form in TEXT_FORMATS:
        try:
            each = form.reader(text, source)
        except ReadingError:
            if not found:
                raise
            continue  # what the first one reads may hold the second one's words
        if each:
            found[form.title] = each
    if len(found) > 1:
        raise ReadingError(
            f"{source!r} holds what several programs wrote ({'; '.join(found)}), and which of them "
            "is meant is not known: give each a file of its own"
        )
    return next(iter(found.values()), None)


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ReadingError(
                f"{str(path)!r} has {size} bytes, and {LARGEST} are the most: give a part of it, "
                "of a log its last lines"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ReadingError(
            f"{str(path)!r} cannot be read ({error.strerror}): name a file"
        ) from None
    if not content.strip():
        raise ReadingError(f"{str(path)!r} is empty: {KNOWN}")
    for mark, encoding in _MARKS:  # as Windows' shells write what they redirect
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    if b"\0" in content:
        raise ReadingError(f"{str(path)!r} is binary: {KNOWN}")
    return content.decode("utf-8", errors="replace")


def _records(text: str) -> list[Record] | str | None:
    """Return the objects of JSON or JSON lines; what is wrong with it; None if it is no JSON."""
    if not JSON.match(text) or text.lstrip().startswith('{"log":'):  # docker's records of a log
        return None
    if len(text) > LARGEST_JSON:
        return f"{len(text)} characters, and {LARGEST_JSON} are the most"
    found: Any
    try:
        found = parse_json(text)
    except ValueError as whole:
        try:
            found = [parse_json(line) for line in lines(text) if line.strip()]
        except ValueError:
            return str(whole)
    found = found if isinstance(found, list) else [found]
    if not found or not all(isinstance(record, dict) for record in found):
        return None
    return list(found)


def _choose(found: Sequence[Reading]) -> str:
    return ", ".join(reading.label for reading in found)
