"""SGLang tells means, not counts: a reading of them counts one round that stands for all."""

from __future__ import annotations

from fairdraft.errors import ReadingError
from fairdraft.peers.base import Reading

MEANS = "means, not counts: no interval can be told"


def of_means(
    source: str,
    length: float,
    k: float,
    nodes: float,
    tokens_per_second: float | None = None,
    requests: float | None = None,
    step_seconds: float | None = None,
    label: str = "",
    notes: tuple[str, ...] = (),
) -> Reading:
    """Return a reading of one round that stands for all.

    Args:
        source: for people.
        length: mean acceptance length, the bonus token included.
        k: longest path of a draft.
        nodes: draft tokens of a round: k in a chain, more in a tree.
        tokens_per_second: all requests together.
        requests: running.
        step_seconds: measured.
        label: which of a file's measurements it is.
        notes: biases.

    Raises:
        ReadingError: that length cannot be at that k.
    """
    if not 1 <= length <= k + 1:
        raise ReadingError(
            f"{source!r}: a mean acceptance length of {length:g} cannot be at k = {k:g}: with the "
            f"bonus token it is from 1 to {k + 1:g}; give a file from one run"
        )
    if not k:
        return Reading(
            source,
            tokens_per_second=tokens_per_second,
            requests=requests,
            step_seconds=step_seconds,
            label=label,
            notes=notes,
        )
    return Reading(
        source,
        1,
        max(nodes, k),
        length - 1,
        tokens_per_second=tokens_per_second,
        requests=requests,
        step_seconds=step_seconds,
        stated_k=k,
        label=label,
        notes=(MEANS, *notes),
    )
