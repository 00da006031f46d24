"""The rows that go into a step's run, and those that stand after it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from fairdraft.draft import Verdict
from fairdraft.engine.scheduler import ScheduledRequest
from fairdraft.kv import KVManager
from fairdraft.models import FlatBatch, RunOutput, ancestor_mask
from fairdraft.proposers import Settled
from fairdraft.transfer import send


def flat_batch(
    step: Sequence[ScheduledRequest], block_size: int, device: torch.device
) -> FlatBatch:
    """Lay the step's rows side by side.

    A draft's node lies in the slot of its flat index and stands at the position of its depth.
    """
    positions: list[int] = []
    logit_rows: list[int] = []
    ancestors: dict[int, torch.Tensor] = {}
    for i, entry in enumerate(step):
        known = entry.num_new_tokens - len(entry.draft)
        newest = entry.start + known - 1
        positions.extend(range(entry.start, newest))
        positions.extend(newest + depth for depth in entry.draft.depths)
        if not entry.draft.is_chain:
            ancestors[i] = ancestor_mask(known, entry.draft)
        logit_rows.extend(range(len(positions) - entry.num_logit_rows, len(positions)))
    return FlatBatch.of(
        [entry.token_ids for entry in step],
        [entry.start for entry in step],
        [entry.request.block_table for entry in step],
        block_size,
        device,
        positions=positions,
        logit_rows=logit_rows,
        ancestors=ancestors,
    )


def moved_slots(
    step: Sequence[ScheduledRequest], verdicts: Sequence[Verdict | None], kv: KVManager
) -> tuple[list[int], list[int]]:
    """Return from which slots to which the KV of accepted branches has to go, to lie in order."""
    sources: list[int] = []
    targets: list[int] = []
    for entry, verdict in zip(step, verdicts, strict=True):
        if verdict is None or entry.draft.is_chain:
            continue
        first = entry.start + entry.num_new_tokens - len(entry.draft)
        slots = kv.slots(entry.request, first, first + len(entry.draft))
        for place, node in enumerate(verdict.path):
            if node != place:
                sources.append(slots[node])
                targets.append(slots[place])
    return sources, targets


def logit_spans(step: Sequence[ScheduledRequest]) -> list[slice]:
    """Return where each entry's rows lie among the step's logits."""
    ends = itertools.accumulate([entry.num_logit_rows for entry in step], initial=0)
    return [slice(first, end) for first, end in itertools.pairwise(ends)]


def settled(
    step: Sequence[ScheduledRequest],
    verdicts: Sequence[Verdict | None],
    kv: KVManager,
    batch: FlatBatch,
    output: RunOutput,
    seconds: float,
) -> Settled:
    """Gather the rows that stand: everything that ran, without rejected drafts and failed requests.

    Args:
        seconds: that the step took so far.
    """
    kept: list[int] = []
    request_ids: list[str] = []
    cu_rows = [0]
    token_ids: list[int] = []
    next_token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    for entry, verdict, first in zip(step, verdicts, batch.cu_rows, strict=False):
        if entry.request.error is not None:
            continue
        request_ids.append(entry.request.request_id)
        start, tokens = entry.start, entry.token_ids
        rows: Sequence[int] = range(len(tokens))
        if entry.draft:
            known = len(tokens) - len(entry.draft)
            rows = [*rows[:known], *(known + node for node in (verdict.path if verdict else ()))]
            tokens = tuple(tokens[row] for row in rows)
        end = start + len(rows)
        kept += [first + row for row in rows]
        cu_rows.append(len(kept))
        token_ids += tokens
        next_token_ids += tokens[1:]
        if rows:
            next_token_ids.append(verdict.token if verdict else entry.request.token_ids[end])
        positions += range(start, end)
        slots += kv.slots(entry.request, start, end)
    hidden = output.hidden
    if hidden and len(kept) < batch.cu_rows[-1]:
        (index,) = send(batch.slots.device, kept)
        hidden = {layer: state[index] for layer, state in hidden.items()}
    return Settled(
        request_ids, cu_rows, token_ids, next_token_ids, positions, slots, hidden, seconds
    )
