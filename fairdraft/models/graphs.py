"""Decode steps as CUDA graphs: a model's hundreds of kernels are launched as one.

A step of a few rows a request reads every weight once, and takes less time on the device than the
host needs to launch its kernels one by one. A graph is captured for each shape that repeats:
requests, rows a request and gathered blocks are rounded up, and what is added writes to a block
that belongs to nobody.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairdraft.kv import KVStorage
from fairdraft.models.batch import FlatBatch, RunOutput
from fairdraft.models.padded_attention import Group, PaddedAttention, group_columns, num_blocks
from fairdraft.transfer import send

_log = logging.getLogger("fairdraft")

MOST_ROWS = 16  # a request; what has more is a prompt's chunk, whose shape hardly comes again
MOST_GRAPHS = 64  # of a model; each keeps its outputs and takes a part of a second to capture
SEEN_BEFORE = 2  # steps of a shape before it is captured

Forward = Callable[[FlatBatch, PaddedAttention, Collection[int]], RunOutput]
Capture = Callable[[Callable[[], RunOutput]], tuple[Callable[[], object], RunOutput]]
Key = tuple[int, int, int, bool, tuple[int, ...]]  # requests, rows, blocks, trees, layers


def cuda_graphs() -> Capture:
    """Return what captures runs as CUDA graphs that share their memory.

    Each returns what replays a run, and its output, which every replay writes anew and the replay
    of another may overwrite.
    """
    pool: Any = None

    def capture(run: Callable[[], RunOutput]) -> tuple[Callable[[], object], RunOutput]:
        nonlocal pool
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries set themselves up in the first runs
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            output = run()
        pool = graph.pool()
        return graph.replay, output

    return capture


@dataclass
class _Graph:
    """A captured shape: the tensors that a replay reads, and those that it writes."""

    token_ids: Tensor
    positions: Tensor
    slots: Tensor
    group: Group
    replay: Callable[[], object]
    output: RunOutput


class GraphedSteps:
    """Runs the steps of one model whose shapes repeat.

    Args:
        forward: runs a batch through the model.
        storage: the model's KV; its last block belongs to nobody.
        block_size: tokens in a block.
        capture: makes a replay of a run; None takes `cuda_graphs`.
    """

    def __init__(
        self,
        forward: Forward,
        storage: KVStorage,
        block_size: int,
        capture: Capture | None = None,
    ) -> None:
        self.forward = forward
        self.storage = storage
        self.block_size = block_size
        self.capture = capture or cuda_graphs()
        self.spare = len(storage.keys[0]) // block_size - 1
        self._seen: Counter[Key] = Counter()
        self._graphs: dict[Key, _Graph] = {}
        self._broken = False

    def __len__(self) -> int:
        return len(self._graphs)

    def run(self, batch: FlatBatch, layers: Collection[int]) -> RunOutput | None:
        """Run a batch, as `ModelRunner.run`; None where there is no graph for it."""
        key = self._key(batch, layers)
        if key is None or self._broken:
            return None
        graph = self._graphs.get(key)
        if graph is None:
            self._seen[key] += 1
            if self._seen[key] <= SEEN_BEFORE or len(self._graphs) >= MOST_GRAPHS:
                return None
            try:
                graph = self._graphs[key] = self._make(key)
            except RuntimeError as error:
                self._broken = True
                _log.warning(
                    "decode steps run without CUDA graphs: a run could not be captured (%s)",
                    str(error).splitlines()[0],
                )
                return None
        places = self._fill(graph, batch, key)
        graph.replay()
        wanted = places[batch.logit_rows]
        hidden = {layer: state[places] for layer, state in graph.output.hidden.items()}
        return RunOutput(graph.output.logits[wanted], hidden)

    def _key(self, batch: FlatBatch, layers: Collection[int]) -> Key | None:
        """Return the shape that a batch is padded to; None where that does not pay."""
        counts = batch.row_counts
        rows = max(counts)
        if rows > MOST_ROWS or min(counts) < 1:
            return None
        longest = max(batch.context_lens) + rows
        unit = num_blocks(1, self.block_size)
        width = unit * rounded(num_blocks(longest, self.block_size) // unit)
        requests = 1 << (len(counts) - 1).bit_length()
        return requests, rows, width, bool(batch.ancestors), tuple(sorted(layers))

    def _make(self, key: Key) -> _Graph:
        """Capture a run of this shape, over rows that nobody waits for."""
        requests, rows, width, trees, layers = key
        device = self.storage.keys[0].device
        total = requests * rows

        def zeros(count: int) -> Tensor:
            return torch.zeros(count, dtype=torch.int64, device=device)

        every = torch.arange(total, device=device)
        tables = torch.full((requests * width,), self.spare, device=device)
        own = zeros(requests * rows * rows if trees else 0)
        shape = {"num_requests": requests, "num_rows": rows}
        group = Group(every, every, every, zeros(requests), tables, own, **shape)
        slots = torch.full((total,), self.spare * self.block_size, device=device)
        batch = FlatBatch(
            zeros(total),
            zeros(total),
            slots,
            range(0, total + 1, rows),
            [0] * requests,
            [[self.spare]] * requests,
            self.block_size,
            every,
        )
        replay, output = self.capture(
            lambda: self.forward(batch, PaddedAttention(self.storage, batch, [group]), layers)
        )
        return _Graph(batch.token_ids, batch.positions, slots, group, replay, output)

    def _fill(self, graph: _Graph, batch: FlatBatch, key: Key) -> Tensor:
        """Write a batch to what the replay reads; return where its rows lie among the padded."""
        requests, rows, width, _, _ = key
        every = range(batch.num_requests)
        _, places, _, contexts, tables, own = group_columns(batch, every, width)
        missing = requests - batch.num_requests
        spare = np.full(missing * width, self.spare, np.int64)
        none = np.zeros(missing, np.int64)
        sent = send(
            batch.slots.device,
            places,
            np.concatenate([contexts, none]),
            np.concatenate([tables, spare]),
            np.concatenate([own, np.zeros(len(graph.group.own) - len(own), np.int64)]),
        )
        for kept, new in zip(
            (graph.group.contexts, graph.group.tables, graph.group.own), sent[1:], strict=True
        ):
            kept.copy_(new)
        if len(places) < requests * rows:
            graph.token_ids.zero_()
            graph.positions.zero_()
            graph.slots.fill_(self.spare * self.block_size)
        at = sent[0]
        graph.token_ids[at] = batch.token_ids
        graph.positions[at] = batch.positions
        graph.slots[at] = batch.slots
        return at


def rounded(count: int) -> int:
    """Return the least of 1, 2, 3, 4, 6, 8, 12, … (2ⁿ and 3 · 2ⁿ) that is not below a count."""
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power
