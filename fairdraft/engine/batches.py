"""What goes into a step's run and what comes out of it, row by row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fairdraft.draft import Draft, Verdict
from fairdraft.engine.scheduler import ScheduledRequest
from fairdraft.kv import KVManager
from fairdraft.models import FlatBatch, RunOutput, ancestor_mask
from fairdraft.proposers import Rows
from fairdraft.request import Request
from fairdraft.telemetry import StepTimes


@dataclass(frozen=True)
class StepOutput:
    """What one step gave one request.

    Args:
        request: with its counters, text so far and finish reason.
        token_ids: tokens it gained.
        draft: what was verified.
        path: the nodes of it that stood.
        text: text it gained; part of it is held back while a stop string may be under way.
        logprobs: per token its log-probability and the likeliest ones', if asked for.
    """

    request: Request
    token_ids: list[int]
    draft: Draft
    path: tuple[int, ...]
    text: str
    logprobs: list[dict[int, float]] | None


def flat_batch(step: Sequence[ScheduledRequest], kv: KVManager, device: torch.device) -> FlatBatch:
    """The step's rows side by side.

    A draft's node lies in the slot of its flat index and stands at the position of its depth.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    logit_rows: list[int] = []
    cu_rows = [0]
    ancestors: dict[int, torch.Tensor] = {}
    for i, entry in enumerate(step):
        end = entry.start + entry.num_new_tokens
        token_ids.extend(entry.token_ids)
        newest = end - len(entry.draft) - 1
        positions.extend(range(entry.start, newest))
        positions.extend(newest + depth for depth in entry.draft.depths)
        if not entry.draft.is_chain:
            ancestors[i] = ancestor_mask(entry.num_new_tokens - len(entry.draft), entry.draft)
        slots.extend(kv.slots(entry.request, entry.start, end))
        cu_rows.append(len(token_ids))
        logit_rows.extend(range(cu_rows[-1] - entry.num_logit_rows, cu_rows[-1]))
    return FlatBatch(
        torch.tensor(token_ids, dtype=torch.int64, device=device),
        torch.tensor(positions, dtype=torch.int64, device=device),
        torch.tensor(slots, dtype=torch.int64, device=device),
        cu_rows,
        [entry.start for entry in step],
        [entry.request.block_table for entry in step],
        kv.block_size,
        torch.tensor(logit_rows, dtype=torch.int64, device=device),
        ancestors,
    )


def moved_slots(
    step: Sequence[ScheduledRequest], verdicts: Sequence[Verdict | None], kv: KVManager
) -> tuple[list[int], list[int]]:
    """From which slots to which the KV of accepted branches has to go, to lie in order."""
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


def row_ranges(step: Sequence[ScheduledRequest]) -> list[range]:
    """Each entry's rows among the step's logits."""
    ends = list(itertools.accumulate(entry.num_logit_rows for entry in step))
    return [range(end - e.num_logit_rows, end) for e, end in zip(step, ends, strict=True)]


def standing_rows(
    step: Sequence[ScheduledRequest],
    verdicts: Sequence[Verdict | None],
    kv: KVManager,
    batch: FlatBatch,
    output: RunOutput,
    seconds: float,
) -> Rows:
    """The rows that stand: everything that ran, without the rejected drafts."""
    kept: list[int] = []
    cu_rows = [0]
    token_ids: list[int] = []
    next_token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    for entry, verdict, first in zip(step, verdicts, batch.cu_rows, strict=False):
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
        index = torch.tensor(kept, device=batch.slots.device)
        hidden = {layer: state[index] for layer, state in hidden.items()}
    request_ids = [entry.request.request_id for entry in step]
    return Rows(request_ids, cu_rows, token_ids, next_token_ids, positions, slots, hidden, seconds)


def trace_record(
    number: int,
    times: StepTimes,
    step: Sequence[ScheduledRequest],
    outputs: Sequence[StepOutput],
) -> dict[str, Any]:
    """One line of the step trace."""
    gained = {output.request.request_id: output for output in outputs}
    requests = []
    for entry in step:
        record: dict[str, Any] = {
            "request_id": entry.request.request_id,
            "num_computed_tokens": entry.start,
            "num_new_tokens": entry.num_new_tokens,
        }
        output = gained.get(entry.request.request_id)
        if output is not None:
            record["draft_token_ids"] = list(output.draft.token_ids)
            if not output.draft.is_chain:
                record["parents"] = list(output.draft.parents or ())
            record["num_accepted"] = len(output.path)
            record["token_ids"] = output.token_ids
        requests.append(record)
    return {"step": number, "times": vars(times), "requests": requests}
