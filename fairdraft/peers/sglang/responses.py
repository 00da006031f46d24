"""Answers of SGLang with the counts of each request: `sglext` and `meta_info`.

    {"choices": [{"sglext": {"spec_tokens_details": {"spec_verify_ct": 40,
        "spec_num_proposed_drafts": 200, "spec_num_correct_drafts": 60,
        "spec_correct_drafts_histogram": [10, 14, 9, 3, 1, 3], …}}}], "usage": …}

`/generate` has the same fields in `meta_info`. They were renamed twice; all three sets of names
count draft tokens without the bonus token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from fairdraft.errors import ReadingError
from fairdraft.peers.answers import Answer, agree, histogram, reading, survivors
from fairdraft.peers.base import Reading, Record, number, optional

ROUNDS = "spec_verify_ct"
# Accepted tokens, drafted tokens, histogram of accepted tokens a round: newest names first.
NAMES = (
    ("spec_num_correct_drafts", "spec_num_proposed_drafts", "spec_correct_drafts_histogram"),
    ("spec_accepted_drafts", "spec_proposed_drafts", "spec_accept_histogram"),
    ("spec_accept_token_num", "spec_draft_token_num", "spec_accept_histogram"),
)
NO_COUNTS = "accepted tokens are those written less the rounds, for the answer does not count them"


def read_responses(records: Sequence[Record], source: str) -> list[Reading] | None:
    """Read answers of SGLang, all together.

    Returns:
        None if they are something else.

    Raises:
        ReadingError: a field is no number, figures do not fit one another, or some say nothing.
    """
    found = [details for record in records for details in _details(record)]
    if not any(details is not None for details, _ in found):
        return None
    if not all(details is not None and ROUNDS in details for details, _ in found):
        raise ReadingError(
            f"{source!r} holds answers of SGLang without {ROUNDS!r}: they do not say whether they "
            "speculated; ask a server that speculates (and with return_meta_info in chat), or give "
            "a log, and as the run without speculation a log or a benchmark's result"
        )
    answers = [_answer(details or {}, tokens, source) for details, tokens in found]
    notes = (NO_COUNTS,) if any(not each.drafted_is_known for each in answers) else ()
    return reading(answers, source, notes)


def _details(record: Record) -> list[tuple[Record | None, object]]:
    """Return each choice's counts and tokens; a pair without counts for one that has none."""
    usage = record.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    choices = record.get("choices")
    places = [record, *(choices if isinstance(choices, list) else [])]
    found: list[tuple[Record | None, object]] = []
    for place in places:
        if not isinstance(place, Mapping):
            continue
        meta, extra = place.get("meta_info"), place.get("sglext")
        if isinstance(extra, Mapping) and isinstance(extra.get("spec_tokens_details"), Mapping):
            found.append((extra["spec_tokens_details"], tokens))
        elif isinstance(meta, Mapping):
            found.append((meta, meta.get("completion_tokens", tokens)))
    if len(found) > 1:  # `usage` is of all choices together
        found = [(x, x.get("completion_tokens") if x is not None else None) for x, _ in found]
    return found or [(None, None)]


def _answer(details: Record, tokens: object, source: str) -> Answer:
    rounds = number(details, ROUNDS, source)
    written = optional({"completion_tokens": tokens}, "completion_tokens", source)
    names = next((each for each in NAMES if each[0] in details), None)
    if names is None:
        if written is None:
            raise ReadingError(
                f"{source!r} lacks {NAMES[0][0]!r} and completion_tokens: give the answer as the "
                "server wrote it"
            )
        # The first token comes with the prompt.
        accepted = max(written - 1 - rounds, 0.0)
        least = ceil(accepted / rounds) * rounds if rounds else 0.0
        return Answer(rounds, max(least, rounds), accepted, tokens=written, drafted_is_known=False)
    accepted, drafted = number(details, names[0], source), number(details, names[1], source)
    counts = histogram(details, names[2], source)
    agree(counts, rounds, accepted, source)
    return Answer(rounds, drafted, accepted, survivors(counts), tokens=written)
