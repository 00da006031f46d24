"""Heads that go on from the target's hidden states, and then from their own outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fairdraft.models import FlatBatch
from fairdraft.proposers.base import Needs, Rows
from fairdraft.proposers.drafters import Span, flat_batch
from fairdraft.proposers.heads import HeadProposer, logits_of
from fairdraft.proposers.stepwise import Underway
from fairdraft.request import Request


@dataclass
class _State:
    """Where a request's next draft begins.

    Args:
        request: whose it is.
        outputs: what the head says behind the text's end, then behind each node that ran: per
            row [d] for its vocabulary, and [d] for the rows that follow it.
    """

    request: Request
    outputs: list[tuple[Tensor, Tensor]]


class RecurrentProposer(HeadProposer):
    """Drafts token by token, or level by level, with a head that reads its own outputs.

    A row of the head stands for a position t: it reads the target's hidden states there, which come
    from the verification run, and the token at t + 1. Its KV lies in the slot of t, in blocks of
    the target's numbers. Arguments as in `HeadProposer`.
    """

    def bind(self, target: Any) -> None:
        """Load the head."""
        super().bind(target)
        self._states: dict[str, _State] = {}
        self.needs = Needs(self.head.config.layer_ids, self.most_run, next_token=True)

    def start(self, request: Request) -> None:
        """A request begins, or begins again with its KV gone."""
        self._states[request.request_id] = _State(request, [])

    def finish(self, request_id: str) -> None:
        """Forget the request."""
        self._states.pop(request_id, None)

    @torch.inference_mode()
    def observe(self, rows: Rows) -> None:
        """Run the head over every row that stands."""
        if not rows.token_ids:
            return
        states = [self._states[name] for name in rows.request_ids]
        device = self.target.device
        batch = FlatBatch(
            torch.tensor(rows.next_token_ids, device=device),
            torch.tensor(rows.positions, device=device),
            torch.tensor(rows.slots, device=device),
            rows.cu_rows,
            [
                rows.positions[first] if first < last else 0
                for first, last in zip(rows.cu_rows, rows.cu_rows[1:], strict=False)
            ],
            [state.request.block_table for state in states],
            self.target.block_size,
            torch.empty(0, dtype=torch.int64, device=device),
        )
        seen = torch.cat([rows.hidden[layer] for layer in self.head.config.layer_ids], dim=-1)
        normed, output = self._run(batch, self.head.fuse(seen))
        for state, first, last in zip(states, rows.cu_rows, rows.cu_rows[1:], strict=False):
            if first < last:
                # Copies: a view would keep the whole step's rows alive.
                state.outputs = [(normed[last - 1].clone(), output[last - 1].clone())]

    def room(self, slots: Sequence[int]) -> int:
        """A node takes the slot before its own."""
        return len(slots)

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """Nothing at first, for `observe` has run the text's end; then a chain's last token, or a
        tree again from its root."""
        states = [self._states[draft.request.request_id] for draft in underway]
        if not len(underway[0].nodes):
            for state in states:
                del state.outputs[1:]
            return logits_of(
                self.head.lm_head, torch.stack([state.outputs[0][0] for state in states])
            )
        spans, inputs = [], []
        for draft, state in zip(underway, states, strict=True):
            nodes, known = draft.nodes, draft.request.num_tokens
            first = 0 if self.drafts_trees else len(nodes) - 1
            spans.append(
                Span(draft.request, known + first, known + len(nodes), nodes, draft.num_newest)
            )
            inputs += [state.outputs[nodes.parent(i) + 1][1] for i in range(first, len(nodes))]
        batch = flat_batch(self.target.block_size, spans, self.target.device, shift=1)
        normed, output = self._run(batch, torch.stack(inputs))
        for draft, state, last in zip(underway, states, batch.cu_rows[1:], strict=True):
            newest = range(last - draft.num_newest, last)
            state.outputs += [(normed[row], output[row]) for row in newest]
        return logits_of(self.head.lm_head, normed[batch.logit_rows])

    def _run(self, batch: FlatBatch, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[T, d] for the vocabulary and [T, d] for what follows; KV goes to the batch's slots."""
        embeds = self.embed(batch.token_ids)
        found: tuple[Tensor, Tensor] = self.head(
            embeds, hidden, batch.positions, self.attend(batch)
        )
        return found
