"""vLLM's log lines, Prometheus counters and benchmark results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from statistics import median
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from fairdraft.errors import ReadingError
from fairdraft.readers.base import Reading

ENGINE = re.compile(
    r"Avg generation throughput: (?P<rate>[\d.]+) tokens/s, Running: (?P<running>\d+) reqs"
)
SPECULATION = re.compile(
    r"SpecDecoding metrics: .*?Accepted: (?P<accepted>\d+) tokens, "
    r"Drafted: (?P<drafted>\d+) tokens, Per-position acceptance rate: (?P<rates>[\d., ]+?), Avg"
)
COUNTERS = "vllm:spec_decode_num_"


def read_log(text: str, source: str) -> Reading | None:
    """A server's log: all its windows that had something running, together.

    A line with no draft tokens is skipped. Rounds are drafted / k: a window in which k varied reads
    too few of them.

    Returns:
        None if it is no such log.
    """
    windows = [
        (float(line["rate"]), int(line["running"]))
        for line in ENGINE.finditer(text)
        if float(line["rate"]) > 0 and int(line["running"]) > 0
    ]
    if not windows and not ENGINE.search(text):
        return None
    if not windows:
        raise ReadingError(
            f"{source!r} has no window in which anything ran: take the log while it serves"
        )
    rounds, drafted, accepted = 0.0, 0, 0
    stood: list[float] = []
    for line in SPECULATION.finditer(text):
        rates = [float(rate) for rate in line["rates"].split(",")]
        window = int(line["drafted"]) / len(rates)
        rounds += window
        drafted += int(line["drafted"])
        accepted += int(line["accepted"])
        stood += [0.0] * (len(rates) - len(stood))
        for i, rate in enumerate(rates):
            stood[i] += rate * window
    return Reading(
        source,
        rounds,
        drafted,
        accepted,
        tuple(stood),
        median(rate for rate, _ in windows),
        median(running for _, running in windows),
        exact_rounds=False,
    )


def read_bench(text: str, source: str) -> Reading | None:
    """The JSON that `vllm bench serve --save-result` writes.

    Returns:
        None if it is no such file.
    """
    try:
        report: Any = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(report, dict) or "output_throughput" not in report:
        return None
    rounds = int(report.get("spec_decode_num_drafts", 0))
    accepted = int(report.get("spec_decode_accepted_tokens", 0))
    rates = report.get("spec_decode_per_position_acceptance_rates") or ()
    length = 1 + accepted / rounds if rounds else 1.0
    tpot = report.get("mean_tpot_ms")
    return Reading(
        source,
        rounds,
        int(report.get("spec_decode_draft_tokens", 0)),
        accepted,
        tuple(rate * rounds for rate in rates),
        float(report["output_throughput"]),
        report.get("max_concurrency"),
        # A request's tokens come acceptance-length at a time.
        float(tpot) / 1e3 * length if tpot else None,
    )


def counters(text: str) -> dict[str, float]:
    """The speculative counters of a /metrics page, all engines together.

    Raises:
        ReadingError: there are none.
    """
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(COUNTERS) and not sample.name.endswith("_created"):
                name = sample.name.removeprefix(COUNTERS).removesuffix("_total")
                if (position := sample.labels.get("position")) is not None:
                    name += f"/{position}"
                found[name] = found.get(name, 0.0) + sample.value
    if "drafts" not in found:
        raise ReadingError(
            f"the metrics have no {COUNTERS}drafts: the server does not speculate, or it is no vLLM"
        )
    return found


def read_metrics(before: str, after: str, seconds: float, source: str) -> Reading:
    """What happened between two scrapes of /metrics.

    Args:
        before, after: the pages.
        seconds: between them.
        source: for people.

    Raises:
        ReadingError: no such counters, nothing drafted, or counters that went backwards.
    """
    old, new = counters(before), counters(after)
    gone = _difference(old, new, source)
    per_position = sorted(int(name.split("/")[1]) for name in gone if "/" in name)
    drafted, accepted = int(gone["draft_tokens"]), int(gone["accepted_tokens"])
    if not drafted:
        raise ReadingError(f"{source!r}: nothing was drafted in between: scrape while it serves")
    return Reading(
        source,
        int(gone["drafts"]),
        drafted,
        accepted,
        tuple(gone[f"accepted_tokens_per_pos/{i}"] for i in per_position),
        None if seconds <= 0 else (accepted + gone["drafts"]) / seconds,
    )


def _difference(
    old: Mapping[str, float], new: Mapping[str, float], source: str
) -> dict[str, float]:
    for name, value in new.items():
        if value < old.get(name, 0.0):
            raise ReadingError(
                f"{source!r}: {COUNTERS}{name} went from {old[name]:.0f} to {value:.0f}: the "
                "server was restarted in between; scrape twice without a restart"
            )
    return {name: value - old.get(name, 0.0) for name, value in new.items()}
