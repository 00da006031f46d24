"""What a step gave each request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.engine.scheduler import ScheduledRequest
from fairdraft.errors import FairdraftError
from fairdraft.request import Request
from fairdraft.sampling.laws import top_logprobs
from fairdraft.telemetry import StepTimes


@dataclass(slots=True)
class StepOutput:
    """What one step gave one request.

    Args:
        request: whose it is. It goes on while this waits to be read.
        token_ids: tokens it gained; none if the step failed.
        draft: what was verified.
        path: the nodes of it that stood and whose tokens it gained.
        text: text it gained; part of it is held back while a stop string may be under way.
        logprobs: per token its log-probability and the likeliest ones', if asked for.
        finish_reason, stop_reason, error: as the request's after this step.
    """

    request: Request
    token_ids: list[int]
    draft: Draft = EMPTY_DRAFT
    path: tuple[int, ...] = ()
    text: str = ""
    logprobs: list[dict[int, float]] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    error: FairdraftError | None = None

    @classmethod
    def of(cls, request: Request, token_ids: Sequence[int] = (), **gain: Any) -> StepOutput:
        """Say what a request gained, and how it stands now."""
        return cls(
            request,
            list(token_ids),
            finish_reason=request.finish_reason,
            stop_reason=request.stop_reason,
            error=request.error,
            **gain,
        )


def logprobs_of(
    logits: torch.Tensor, rows: Sequence[int], tokens: Sequence[int], count: int
) -> list[dict[int, float]]:
    """Return per token its log-probability under the unfiltered target, and the likeliest `count`.

    Args:
        logits: [R, V] of the step.
        rows: the row that each token came from.
        tokens: as many.
        count: of the likeliest.
    """
    found = logits[list(rows)].float().cpu().numpy()
    result = []
    for row, token in zip(found, tokens, strict=True):
        likeliest, values, lowered = top_logprobs(row, count)
        entry = {token: float(row[token] - lowered)}
        entry.update(zip(likeliest.tolist(), values.tolist(), strict=True))
        result.append(entry)
    return result


def trace_record(
    number: int,
    times: StepTimes,
    step: Sequence[ScheduledRequest],
    outputs: Sequence[StepOutput],
) -> dict[str, Any]:
    """Describe a step for the step trace.

    Drafts are told as they are counted: where the text ended inside the accepted stretch, a chain
    goes as far as the text, and `num_accepted` is the length of `token_ids`.
    """
    gained = {output.request.request_id: output for output in outputs if output.token_ids}
    requests = []
    for entry in step:
        record: dict[str, Any] = {
            "request_id": entry.request.request_id,
            "num_computed_tokens": entry.start,
            "num_new_tokens": entry.num_new_tokens,
        }
        output = gained.get(entry.request.request_id)
        if output is not None:
            draft = output.draft
            if draft.is_chain and len(output.path) == len(output.token_ids):
                draft = draft.trimmed(len(output.path))
            record["draft_token_ids"] = list(draft.token_ids)
            if not draft.is_chain:
                record["parents"] = list(draft.parents or ())
            record["num_accepted"] = len(output.path)
            record["token_ids"] = output.token_ids
        requests.append(record)
    return {"step": number, "times": vars(times), "requests": requests}
