"""Files of any known engine: which reader understands one is found out from what is in it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fairdraft.errors import ReadingError
from fairdraft.peers import metrics
from fairdraft.peers.aiperf import exports as aiperf_exports
from fairdraft.peers.base import Reading, Record, parse_json
from fairdraft.peers.fairdraft import bench as fairdraft_bench
from fairdraft.peers.fairdraft import logs as fairdraft_logs
from fairdraft.peers.guidellm import reports as guidellm_reports
from fairdraft.peers.lines import lines
from fairdraft.peers.llama_cpp import logs as llama_cpp_logs
from fairdraft.peers.llama_cpp import responses as llama_cpp_responses
from fairdraft.peers.sglang import bench as sglang_bench
from fairdraft.peers.sglang import logs as sglang_logs
from fairdraft.peers.sglang import responses as sglang_responses
from fairdraft.peers.sglang import server_info as sglang_server_info
from fairdraft.peers.sse import read_stream
from fairdraft.peers.tensorrt_llm import iterations as tensorrt_llm_iterations
from fairdraft.peers.vllm import bench as vllm_bench
from fairdraft.peers.vllm import logs as vllm_logs
from fairdraft.peers.vllm import responses as vllm_responses
from fairdraft.peers.vllm.sweep import read_sweep

JSON_READERS: tuple[Callable[[Sequence[Record], str], list[Reading] | None], ...] = (
    fairdraft_bench.read_bench,
    fairdraft_logs.read_trace,
    sglang_bench.read_serving,  # before vLLM's, which has some of the same fields
    vllm_bench.read_bench,
    sglang_bench.read_rows,
    aiperf_exports.read_summary,
    aiperf_exports.read_records,
    guidellm_reports.read_report,
    tensorrt_llm_iterations.read_iterations,
    sglang_server_info.read_server_info,
    llama_cpp_responses.read_responses,
    sglang_responses.read_responses,
    vllm_responses.read_responses,
)
TEXT_READERS: tuple[Callable[[str, str], list[Reading] | None], ...] = (
    vllm_logs.read_log,
    sglang_logs.read_log,
    vllm_bench.read_console,
    llama_cpp_logs.read_log,
    metrics.read_page,
)
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
            raise ReadingError(f"{name!r} has no {label!r}: {_choose(found)}")
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
        found = next((each for read in JSON_READERS if (each := read(records, source))), None)
    else:
        found = next((each for read in TEXT_READERS if (each := read(text, source))), None)
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
