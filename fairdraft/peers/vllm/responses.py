"""Answers of vLLM and TensorRT-LLM with the counts of each request.

vLLM (`--per-request-spec-decode-metrics summary|detailed`): `metrics.speculative_decoding` beside
the times of `--enable-per-request-metrics`; before that was merged it stood in each choice as
`speculative_decoding_stats`. TensorRT-LLM (`per_request_spec_decode_stats`): `speculative_decoding`
in each choice, under names of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairdraft.errors import ReadingError
from fairdraft.peers.answers import Answer, agree, histogram, reading, survivors
from fairdraft.peers.base import Reading, Record, number, numbers, optional, part

# Accepted and drafted tokens: vLLM's names, then TensorRT-LLM's.
NAMES = (
    ("num_accepted_draft_tokens", "num_draft_tokens"),
    ("total_accepted_draft_tokens", "total_draft_tokens"),
)
SILENT = "{} of {} answers say nothing of drafts (n > 1, or none was drafted) and are left out"


def read_responses(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read answers with vLLM's or TensorRT-LLM's counts, all together.

    Returns:
        None if they are something else.

    Raises:
        ReadingError: a field is no number, figures do not fit one another, or no answer has any.
    """
    if not all("choices" in record or "metrics" in record for record in records):
        return None
    found = [counts for record in records for counts in _counts(record, source)]
    if not any("usage" in record or "choices" in record for record in records):
        return None
    answers = [each for each in found if each is not None]
    if not answers:
        return _without(records, source)
    notes = (SILENT.format(len(found) - len(answers), len(found)),)
    return reading(answers, source, notes if len(answers) < len(found) else ())


def _counts(record: Record, source: str) -> list[Answer | None]:
    """Return what an answer's choices drafted; None for one that does not say."""
    metrics, choices = record.get("metrics"), record.get("choices")
    seconds = tokens = None
    usage = record.get("usage")
    if isinstance(usage, Mapping):
        tokens = optional(usage, "completion_tokens", source)
    if isinstance(metrics, Mapping):
        milliseconds = optional(metrics, "generation_time_ms", source)
        seconds = None if milliseconds is None else milliseconds / 1e3
        if metrics.get("speculative_decoding") is not None:
            stats = part(metrics, "speculative_decoding", source)
            return [answer(stats, source, tokens, seconds)]
    if not isinstance(choices, list):
        return [None]
    found: list[Answer | None] = []
    for choice in choices:
        told: object = None
        if isinstance(choice, Mapping):
            told = choice.get("speculative_decoding") or choice.get("speculative_decoding_stats")
        alone = tokens if len(choices) == 1 else None
        found.append(answer(told, source, alone, seconds) if isinstance(told, Mapping) else None)
    return found or [None]


def answer(
    stats: Record, source: str, tokens: float | None = None, seconds: float | None = None
) -> Answer:
    """Return a request's counts.

    Args:
        stats: `speculative_decoding`.
        source: for people.
        tokens: written; None if it is not said.
        seconds: from the first token to the last; None if it is not said.

    Raises:
        ReadingError: a field is missing or no number, or figures do not fit one another.
    """
    names = next((pair for pair in NAMES if pair[0] in stats), NAMES[0])
    rounds = number(stats, "num_spec_steps", source)
    accepted, drafted = (number(stats, name, source) for name in names)
    counts = histogram(stats, "acceptance_histogram", source)
    agree(counts, rounds, accepted, source)
    tried: tuple[float, ...] = ()
    if stats.get("per_step_drafted"):
        lengths = numbers(stats, "per_step_drafted", source)
        if len(lengths) != rounds or sum(lengths) != drafted or max(lengths) > len(counts) + 4096:
            raise ReadingError(
                f"{source!r}: per_step_drafted has {len(lengths)} steps and {sum(lengths):.0f} "
                f"tokens, the counts beside it {rounds:.0f} and {drafted:.0f}: give the answer as "
                "the server wrote it"
            )
        tried = tuple(
            float(sum(length > i for length in lengths)) for i in range(int(max(lengths)))
        )
    stood = survivors(counts)
    if tried:
        stood = (*stood, *(0.0,) * (len(tried) - len(stood)))
    return Answer(
        rounds,
        drafted,
        accepted,
        stood,
        tried,
        tokens,
        seconds,
        optional(stats, "num_spec_tokens", source),
    )


def _without(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Return answers without counts as times alone.

    Raises:
        ReadingError: they are answers that tell neither.
    """
    timed = []
    for record in records:
        metrics, usage = record.get("metrics"), record.get("usage")
        if isinstance(metrics, Mapping) and isinstance(usage, Mapping):
            tokens = optional(usage, "completion_tokens", source)
            milliseconds = optional(metrics, "generation_time_ms", source)
            if tokens and milliseconds:
                timed.append(Answer(0, 0, 0, (), (), tokens, milliseconds / 1e3, None, False))
    if timed and len(timed) == len(records):
        return reading(timed, source)
    if all(isinstance(record.get("choices"), list) for record in records):
        raise ReadingError(
            f"{source!r} holds answers without any count of drafts, so whether they speculated is "
            "not known: start vLLM with --per-request-spec-decode-metrics summary and "
            "--enable-per-request-metrics, ask SGLang with return_meta_info, or give a log or "
            "/metrics instead"
        )
    return None
