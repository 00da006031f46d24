"""Heads that read the target's hidden states, and then their own outputs: EAGLE, EAGLE-3, MTP."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fairdraft.economics.costs.live_costs import UNREAD_ROWS
from fairdraft.kv import LayerShape
from fairdraft.models import FlatBatch, ModelRunner
from fairdraft.proposers.base import Needs, Settled
from fairdraft.proposers.drafting.drafter import Drafter, Underway
from fairdraft.proposers.drafting.spans import Span, flat_batch
from fairdraft.proposers.heads.fused import recurrent_pass
from fairdraft.proposers.heads.runtime import HeadRuntime, logits_of
from fairdraft.proposers.options import DraftShape
from fairdraft.request import Request
from fairdraft.transfer import send


@dataclass
class _State:
    """What a head knows of a request, and where its next draft begins.

    Args:
        request: the request.
        outputs: what the head says behind the text's end, then behind each node that ran: per
            row [d] for its vocabulary, and [d] for the rows that follow it.
        begun: whether rows of it were seen since it started.
        first_block: the head reads the text from there on; what lies before was never run.
        num_read: positions before this one have KV, from `first_block` on.
        unread: rows that wait, as (rows, first, last) of each step.
        num_unread: how many they are.
    """

    request: Request
    outputs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    begun: bool = False
    first_block: int = 0
    num_read: int = 0
    unread: deque[tuple[Settled, int, int]] = field(default_factory=deque)
    num_unread: int = 0


def _length(unread: tuple[Settled, int, int]) -> int:
    """Count the rows of one step that wait."""
    _, first, last = unread
    return last - first


def _copied(rows: Settled, first: int, last: int) -> tuple[Settled, int, int]:
    """Return these rows alone: a view would keep the whole step's hidden states alive."""
    some = slice(first, last)
    hidden = {layer: state[some].clone() for layer, state in rows.hidden.items()}
    own = replace(
        rows,
        cu_rows=(0, last - first),
        token_ids=rows.token_ids[some],
        next_token_ids=rows.next_token_ids[some],
        positions=rows.positions[some],
        slots=rows.slots[some],
        hidden=hidden,
    )
    return own, 0, last - first


class RecurrentDrafter(Drafter):
    """A head that drafts token by token, or level by level, and reads its own outputs.

    A row of the head stands for a position t: it reads the target's hidden states there, which come
    from the verification run, and the token at t + 1. Its KV lies in the slot of t, in blocks of
    the target's numbers.

    Args:
        head: the network.
        target: whose slots it shares.
        shape: of the drafts.
        kv_layers: shape of what each of its layers keeps of a token.
    """

    def __init__(
        self, head: Any, target: ModelRunner, shape: DraftShape, kv_layers: Sequence[LayerShape]
    ) -> None:
        self.head = self.network = head
        self.target = target
        self.shape = shape
        self.kv_layers = kv_layers
        self.target_ids = head.target_ids
        self.runtime = HeadRuntime(head, target, kv_layers)
        self._pass = recurrent_pass(head, self.runtime)
        self.needs = Needs(head.config.layer_ids, shape.most_run, next_token=True)
        self._states: dict[str, _State] = {}
        self._unwritten: set[int] = set()  # blocks whose rows were deferred, not run

    @property
    def _most_unread(self) -> int:
        """How many rows of a request are kept while nobody asks for its drafts."""
        return max(UNREAD_ROWS, 2 * self.target.block_size)

    def start(self, request: Request) -> None:
        """Begin a request, or begin it again with its KV gone."""
        self._states[request.request_id] = _State(request)

    def finish(self, request_id: str) -> None:
        """Forget a request."""
        self._states.pop(request_id, None)

    @torch.inference_mode()
    def observe(self, rows: Settled) -> None:
        """Run the head over every row that stands."""
        states = [self._states[name] for name in rows.request_ids]
        self._catch_up(states)
        if not rows.token_ids:
            return
        self._begin(rows, states)
        spans = list(pairwise(rows.cu_rows))
        batch = FlatBatch.of(
            [rows.next_token_ids[first:last] for first, last in spans],
            [
                rows.positions[first] if first < last else state.num_read
                for state, (first, last) in zip(states, spans, strict=True)
            ],
            [state.request.block_table for state in states],
            self.target.block_size,
            self.target.device,
        )
        seen = torch.cat([rows.hidden[layer] for layer in self.head.config.layer_ids], dim=-1)
        self._run_text(batch, seen, states)

    def defer(self, rows: Settled) -> None:
        """Keep the latest rows of each request, to be run when a draft is asked for.

        Older ones are dropped: the head then reads the text from a later block on.
        """
        states = [self._states[name] for name in rows.request_ids]
        self._begin(rows, states)
        size, most = self.target.block_size, self._most_unread
        self._unwritten.update([slot // size for slot in rows.slots])
        long = len(rows.token_ids) > most * len(states)
        for state, (first, last) in zip(states, itertools.pairwise(rows.cu_rows), strict=True):
            if first == last:
                continue
            first = max(first, last - most)
            unread, count = state.unread, state.num_unread + last - first
            unread.append(_copied(rows, first, last) if long else (rows, first, last))
            while count - _length(unread[0]) >= most:
                count -= _length(unread.popleft())
            state.num_unread = count

    def num_deferred(self, request_ids: Sequence[str]) -> int:
        """Count the rows that wait to be read."""
        most = self._most_unread
        return sum(min(self._states[name].num_unread, most) for name in request_ids)

    def catch_up(self, request_ids: Sequence[str]) -> None:
        """Run the head over the rows of these requests that wait."""
        self._catch_up([self._states[name] for name in request_ids])

    def _begin(self, rows: Settled, states: Sequence[_State]) -> None:
        """Learn, where a request started on cached blocks, which of them the head has run."""
        if all(state.begun for state in states):
            return
        for state, (first, last) in zip(states, itertools.pairwise(rows.cu_rows), strict=True):
            if state.begun or first == last:
                continue
            state.begun, state.num_read = True, rows.positions[first]
            cached = state.request.block_table[: state.num_read // self.target.block_size]
            missing = [i for i, block in enumerate(cached) if block in self._unwritten]
            state.first_block = missing[-1] + 1 if missing else 0

    @torch.inference_mode()
    def _catch_up(self, states: Sequence[_State]) -> None:
        """Run the head over the rows that wait, in one run."""
        states = [state for state in states if state.unread]
        if not states:
            return
        size, most = self.target.block_size, self._most_unread
        token_ids: list[list[int]] = []
        hidden: list[Tensor] = []
        for state in states:
            begin = state.unread[0][0].positions[state.unread[0][1]]
            begin += max(state.num_unread - most, 0)
            if begin > state.num_read:  # rows between were dropped: begin with a whole block
                state.first_block = -(-begin // size)
                begin = state.first_block * size
            token_ids.append([])
            for rows, first, last in state.unread:
                first = max(first, first + begin - rows.positions[first])
                if first >= last:
                    continue
                token_ids[-1] += rows.next_token_ids[first:last]
                layers = [rows.hidden[layer][first:last] for layer in self.head.config.layer_ids]
                hidden.append(torch.cat(layers, dim=-1))
            state.num_read, state.num_unread = begin, 0
            state.unread.clear()
        batch = FlatBatch.of(
            token_ids,
            [state.num_read for state in states],
            [state.request.block_table for state in states],
            size,
            self.target.device,
        )
        self._run_text(batch, torch.cat(hidden), states)

    def _run_text(self, batch: FlatBatch, seen: Tensor, states: Sequence[_State]) -> None:
        """Run the head over rows of the text and keep what it says behind each text's end."""
        normed, output = self._run(batch, self.head.fuse(seen), states)
        size = batch.block_size
        for i, (state, (first, last)) in enumerate(
            zip(states, pairwise(batch.cu_rows), strict=True)
        ):
            if first < last:
                # Copies: a view would keep the whole step's rows alive.
                state.outputs = [(normed[last - 1].clone(), output[last - 1].clone())]
                begin = batch.context_lens[i]
                state.num_read = begin + last - first
                written = batch.block_tables[i][begin // size : -(-state.num_read // size)]
                self._unwritten.difference_update(written)

    def _shifted(self, batch: FlatBatch, states: Sequence[_State]) -> FlatBatch:
        """Return the batch as attention sees it: texts begin where the head began to run them."""
        if not any(state.first_block for state in states):
            return batch
        dropped = [state.first_block * batch.block_size for state in states]
        counts = batch.row_counts
        by_row = [first for first, count in zip(dropped, counts, strict=True) for _ in range(count)]
        (shifts,) = send(batch.positions.device, by_row)
        return replace(
            batch,
            positions=batch.positions - shifts,
            context_lens=[
                context - first for context, first in zip(batch.context_lens, dropped, strict=True)
            ],
            block_tables=[state.request.block_table[state.first_block :] for state in states],
        )

    def room(self, slots: Sequence[int]) -> int:
        """Return a node per slot: each takes the slot before its own."""
        return len(slots)

    @torch.inference_mode()
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """Run a chain's last token, or a tree again from its root.

        Nothing runs at first, for `observe` has run the text's end.
        """
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
            first = 0 if self.shape.is_tree else len(nodes) - 1
            spans.append(
                Span(draft.request, known + first, known + len(nodes), nodes, draft.num_newest)
            )
            inputs += [state.outputs[nodes.parent(i) + 1][1] for i in range(first, len(nodes))]
        batch = flat_batch(self.target.block_size, spans, self.target.device, shift=1)
        normed, output = self._run(batch, torch.stack(inputs), states)
        for draft, state, last in zip(underway, states, batch.cu_rows[1:], strict=True):
            newest = range(last - draft.num_newest, last)
            state.outputs += [(normed[row], output[row]) for row in newest]
        every = len(batch.logit_rows) == len(normed)  # of chains
        return logits_of(self.head.lm_head, normed if every else normed[batch.logit_rows])

    def _run(
        self, batch: FlatBatch, hidden: Tensor, states: Sequence[_State]
    ) -> tuple[Tensor, Tensor]:
        """Run the head over a batch, with KV in its slots.

        Returns:
            [T, d] for the vocabulary, and [T, d] for the rows that follow.
        """
        attention = self.runtime.attention(self._shifted(batch, states))
        return self._pass.run(batch.token_ids, hidden, batch.positions, attention)
