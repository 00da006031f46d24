"""Results of `vllm bench serve`: its JSON, and the block that it prints.

Its TPOT is per token (inter-token latency), its ITL per chunk (inter-chunk latency): a chunk has
the tokens of one step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from fairdraft.errors import ReadingError
from fairdraft.peers.base import DECIMAL, Reading, Record, number, numbers, optional
from fairdraft.peers.latencies import SEVERAL, SPECULATES
from fairdraft.peers.lines import lines

TITLE = "Serving Benchmark Result"
_TITLE = re.compile(rf"=+ {TITLE} =+\s*$")
_END = re.compile(r"={40,}\s*$")
_POSITION = re.compile(rf"\s*Position (\d+):\s+({DECIMAL})\s*$")
_FIGURE = re.compile(rf"\s*([A-Z].*?):\s+({DECIMAL}|inf)\s*$")
# What the block prints, and what the JSON calls it.
_FIGURES = {
    "Successful requests": "completed",
    "Maximum request concurrency": "max_concurrency",
    "Benchmark duration (s)": "duration",
    "Total input tokens": "total_input_tokens",
    "Total generated tokens": "total_output_tokens",
    "Output token throughput (tok/s)": "output_throughput",
    "Mean TPOT (ms)": "mean_tpot_ms",
    "Mean ITL (ms)": "mean_itl_ms",
    "Acceptance rate (%)": "spec_decode_acceptance_rate",
    "Acceptance length": "spec_decode_acceptance_length",
    "Drafts": "spec_decode_num_drafts",
    "Draft tokens": "spec_decode_draft_tokens",
    "Accepted tokens": "spec_decode_accepted_tokens",
    "Accept length": "accept_length",  # SGLang's own benchmark prints a block of the same name
}
_NEEDED = ("output_throughput", "total_output_tokens", "completed", "mean_tpot_ms")
_DRAFTS = (
    "spec_decode_num_drafts",
    "spec_decode_draft_tokens",
    "spec_decode_accepted_tokens",
    "spec_decode_acceptance_length",
)
UNSAID = (
    "drafts are not in the file: vLLM before 0.12 never counted them, later ones do where the "
    "server speculates; it is taken for a run without speculation, be sure that it is"
)


def read_bench(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON that `vllm bench serve --save-result` writes, or a list of them.

    Returns:
        One reading a run; None if it is no such file.

    Raises:
        ReadingError: a field is no number, or figures do not fit one another.
    """
    if not all("output_throughput" in record for record in records):
        return None
    return [_run(record, source, f"run={i}") for i, record in enumerate(records)]


def read_console(text: str, source: str) -> list[Reading] | None:
    """Read what `vllm bench serve` prints at its end, of one run or several.

    Returns:
        One reading a block; None if there is none.

    Raises:
        ReadingError: a block is cut off, its figures do not fit one another, or another program
            printed it.
    """
    if TITLE not in text:
        return None
    found: list[Reading] = []
    record: dict[str, object] | None = None
    rates: dict[int, float] = {}
    for line in lines(text):
        if _TITLE.search(line):
            if record is not None:
                _refuse(source, "the end of a block is missing")
            record, rates = {}, {}
        elif record is None:
            continue
        elif _END.search(line):
            found.append(_block(record, rates, source, f"run={len(found)}"))
            record = None
        elif position := _POSITION.search(line):
            rates[int(position[1])] = float(position[2]) / 100
        elif (figure := _FIGURE.search(line)) and (name := _name(figure[1])) is not None:
            record[name] = float(figure[2])
        elif any(f"{known}:" in line for known in _FIGURES):
            _refuse(source, f"{line.strip()!r:.60} is cut off, or its decimals are no point")
    if record is not None or not found:
        _refuse(source, "the end of the block is missing")
    return found


def _name(printed: str) -> str | None:
    """Return a figure's name in the JSON; whatever a collector wrote before it is left out."""
    ends = (label for label in _FIGURES if re.search(rf"(^|\W){re.escape(label)}$", printed))
    label = max(ends, key=len, default=None)
    return None if label is None else _FIGURES[label]


def _block(record: dict[str, object], rates: dict[int, float], source: str, label: str) -> Reading:
    missing = [name for name in _NEEDED if name not in record]
    if missing:
        _refuse(source, f"{missing[0]} is missing")
    if "accept_length" in record:
        raise ReadingError(
            f"{source!r} is the block that SGLang's bench_serving prints: give the line of JSON "
            "that it wrote (--output-file), which says more"
        )
    if sorted(rates) != list(range(len(rates))):
        _refuse(source, f"positions {sorted(rates)} are not all there")
    record["spec_decode_per_position_acceptance_rates"] = [rates[i] for i in range(len(rates))]
    return _run(record, source, label)


def _refuse(source: str, why: str) -> NoReturn:
    raise ReadingError(
        f"{source!r} has a block of `vllm bench serve`, but {why}: give the whole block as it was "
        "printed, from its title to the line of ="
    )


def _run(record: Record, source: str, label: str) -> Reading:
    told = [name in record and record[name] is not None for name in _DRAFTS]
    if any(told) and not all(told[:3]):
        missing = ", ".join(name for name, there in zip(_DRAFTS, told, strict=True) if not there)
        raise ReadingError(
            f"{source!r} says something of drafts, but lacks {missing}: give the file as the "
            "benchmark wrote it"
        )
    rounds = optional(record, _DRAFTS[0], source) or 0.0
    accepted = optional(record, _DRAFTS[2], source) or 0.0
    rates = numbers(record, "spec_decode_per_position_acceptance_rates", source)
    _agree(record, rounds, accepted, rates, source)
    total = optional(record, "total_output_tokens", source)
    prefills = optional(record, "completed", source)  # each writes its request's first token
    steps = None
    if total is not None and prefills is not None:
        steps = max(total - prefills - accepted, rounds)
    per_step = 1 + accepted / (steps or rounds) if rounds else 1.0
    tpot, itl = (optional(record, f"mean_{name}_ms", source) for name in ("tpot", "itl"))
    duration = optional(record, "duration", source) or None
    prompts = optional(record, "total_input_tokens", source)
    notes: tuple[str, ...] = ()
    if not told[0]:
        if not (tpot and itl):
            notes = (UNSAID,)
        elif itl >= SPECULATES * tpot:
            notes = (SEVERAL.format(itl / tpot),)
    return Reading(
        source,
        rounds,
        optional(record, _DRAFTS[1], source) or 0.0,
        accepted,
        tuple(rate * rounds for rate in rates),
        number(record, "output_throughput", source),
        optional(record, "max_concurrency", source),
        # A request's tokens come several at a time.
        tpot / 1e3 * per_step if tpot else None,
        steps=steps,
        label=label,
        notes=notes,
        seconds=duration,
        generated=total,
        prompt_tokens_per_second=prompts / duration if prompts is not None and duration else None,
        inter_token_seconds=tpot / 1e3 if tpot else None,
        inter_chunk_seconds=itl / 1e3 if itl else None,
        max_k=len(rates) or None,
    )


def _agree(
    record: Record, rounds: float, accepted: float, rates: Sequence[float], source: str
) -> None:
    """Check the acceptance length that is printed against the counts.

    Raises:
        ReadingError: they do not fit one another.
    """
    printed = optional(record, _DRAFTS[3], source)
    if not rounds or printed is None:
        return
    length = 1 + accepted / rounds
    off = abs(length - printed) > 0.0051 or (
        rates and abs(1 + sum(rates) - printed) > 0.0051 + 0.0002 * len(rates)
    )
    if off:
        raise ReadingError(
            f"{source!r}: the acceptance length is {printed:g}, but the counts make it "
            f"{length:.2f}" + (f" and the positions {1 + sum(rates):.2f}" if rates else "") + ": "
            "give the result as the benchmark wrote it"
        )
