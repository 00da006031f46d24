"""Results of `vllm bench serve`."""

from __future__ import annotations

from collections.abc import Sequence

from fairdraft.peers.base import Reading, Record, number, numbers, optional


def read_bench(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read the JSON that `vllm bench serve --save-result` writes, or a list of them.

    Returns:
        One reading a run; None if it is no such file.

    Raises:
        ReadingError: a field is no number.
    """
    if not all("output_throughput" in record for record in records):
        return None
    return [_run(record, source, f"run={i}") for i, record in enumerate(records)]


def _run(record: Record, source: str, label: str) -> Reading:
    rounds = optional(record, "spec_decode_num_drafts", source) or 0.0
    accepted = optional(record, "spec_decode_accepted_tokens", source) or 0.0
    rates = numbers(record, "spec_decode_per_position_acceptance_rates", source)
    total = optional(record, "total_output_tokens", source)
    prefills = optional(record, "completed", source)  # each writes its request's first token
    steps = None
    if total is not None and prefills is not None:
        steps = max(total - prefills - accepted, rounds)
    per_step = 1 + accepted / (steps or rounds) if rounds else 1.0
    tpot = optional(record, "mean_tpot_ms", source)
    return Reading(
        source,
        rounds,
        optional(record, "spec_decode_draft_tokens", source) or 0.0,
        accepted,
        tuple(rate * rounds for rate in rates),
        number(record, "output_throughput", source),
        optional(record, "max_concurrency", source),
        # A request's tokens come several at a time.
        tpot / 1e3 * per_step if tpot else None,
        steps=steps,
        label=label,
    )
