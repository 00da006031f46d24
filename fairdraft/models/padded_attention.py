"""Attention over paged KV with torch's own kernels, for many requests in one call.

Requests that run few rows go together: their rows and their KV are gathered, padded to the most of
any of them, and read by one `scaled_dot_product_attention`. Everything that says which token a row
sees is worked out on the model's device, from a few numbers a request that are sent in one copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fairdraft.kv import KVStorage
from fairdraft.models.batch import FlatBatch
from fairdraft.transfer import send

MOST_ROWS = 16  # a request; longer prompt chunks go alone, for all would be padded to them
_ALIGNED = 64  # tokens; torch's kernels want masks whose rows are whole vectors


@dataclass(frozen=True)
class Group:
    """Requests that are read together; all numbers lie on the model's device.

    Args:
        rows: [n] of the batch's rows, those of the group.
        places: [n], where each lies among the padded ones.
        padded: [B · R], the batch's row for each padded one.
        contexts: [B], tokens before each request's rows.
        tables: [B · blocks], block ids.
        own: [B · R · R], which of its own rows each row sees; empty where all are chains.
        num_requests: B.
        num_rows: R, the most of any of them.
    """

    rows: Tensor
    places: Tensor
    padded: Tensor
    contexts: Tensor
    tables: Tensor
    own: Tensor
    num_requests: int = field(kw_only=True)
    num_rows: int = field(kw_only=True)


def num_blocks(num_tokens: int, block_size: int) -> int:
    """Return how many blocks are gathered, so that the tokens in them are aligned."""
    aligned = _ALIGNED // math.gcd(_ALIGNED, block_size)
    return -(-num_tokens // (block_size * aligned)) * aligned


def group_columns(
    batch: FlatBatch, requests: Sequence[int], width: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Return the first six fields of a `Group`, as they are sent.

    Args:
        batch: the step's rows.
        requests: places in the batch.
        width: blocks a request; None takes as few as hold the longest.
    """
    counts = batch.row_counts
    most = max(counts[i] for i in requests)
    if width is None:
        longest = max(batch.context_lens[i] + counts[i] for i in requests)
        width = num_blocks(longest, batch.block_size)
    padded = np.empty((len(requests), most), np.int64)
    tables = np.empty((len(requests), width), np.int64)
    rows, places = [], []
    trees = any(i in batch.ancestors for i in requests)
    own = np.zeros((len(requests), most, most) if trees else (0, 0, 0), np.int64)
    for place, i in enumerate(requests):
        first, count, table = batch.cu_rows[i], counts[i], batch.block_tables[i]
        padded[place], padded[place, :count] = first, np.arange(first, first + count)
        tables[place] = table[0]
        used = min(len(table), width)
        tables[place, :used] = table[:used]
        rows.append(np.arange(first, first + count))
        places.append(place * most + np.arange(count))
        if trees:
            mask = batch.ancestors.get(i)
            seen = np.tri(count, dtype=bool) if mask is None else mask.cpu().numpy()
            own[place, :count, :count] = seen
    contexts = np.array([batch.context_lens[i] for i in requests], np.int64)
    columns = [np.concatenate(rows), np.concatenate(places), padded, contexts, tables, own]
    return [column.ravel() for column in columns]


def groups_of(batch: FlatBatch) -> list[list[int]]:
    """Return which requests are read together: all of few rows, each other one alone."""
    counts = batch.row_counts
    few = [i for i, count in enumerate(counts) if 0 < count <= MOST_ROWS]
    return [*([few] if few else []), *([i] for i, count in enumerate(counts) if count > MOST_ROWS)]


class PaddedAttention:
    """Attention of one step, shared by all layers.

    Args:
        storage: keys and values of every slot.
        batch: the step's rows.
        groups: as `groups_of` and `group_columns` make them; None makes them.
    """

    def __init__(
        self, storage: KVStorage, batch: FlatBatch, groups: Sequence[Group] | None = None
    ) -> None:
        self.storage = storage
        self.batch = batch
        self.groups = list(groups) if groups is not None else self._send()
        self._slots: dict[int, Tensor] = {}
        self._masks: dict[tuple[int, int | None, int], Tensor] = {}

    def _send(self) -> list[Group]:
        """Make the groups, in one copy."""
        batch, chosen = self.batch, groups_of(self.batch)
        columns = [group_columns(batch, requests) for requests in chosen]
        whole = send(batch.slots.device, *(one for group in columns for one in group))
        fields = len(columns[0]) if columns else 0
        return [
            Group(
                *whole[i * fields : (i + 1) * fields],
                num_requests=len(requests),
                num_rows=max(batch.row_counts[place] for place in requests),
            )
            for i, requests in enumerate(chosen)
        ]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the rows' keys and values [T, kv_heads, dim] into their slots."""
        self.storage.write(layer, self.batch.slots, keys, values)

    def attend(
        self,
        layer: int,
        queries: Tensor,
        scale: float,
        softcap: float | None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """What each row reads; arguments and result as of `PagedAttention.attend`."""
        values = self.storage.values[layer]
        shape = (*queries.shape[:2], values.shape[2])
        out = torch.empty(shape, dtype=dtype or values.dtype, device=values.device)
        for number, group in enumerate(self.groups):
            read = self._attend_group(layer, number, queries, scale, softcap)
            out[group.rows] = read[group.places].to(out.dtype)
        return out

    def _attend_group(
        self, layer: int, number: int, queries: Tensor, scale: float, softcap: float | None
    ) -> Tensor:
        """Return [B · R, num_heads, value_dim]."""
        group = self.groups[number]
        slots = self._list_slots(number)
        keys = self.storage.keys[layer][slots].transpose(1, 2)
        values = self.storage.values[layer][slots].transpose(1, 2)
        num_requests, num_rows = group.num_requests, group.num_rows
        kv_heads, dim = keys.shape[1], keys.shape[3]
        # Query heads that share a KV head are rows of one product: their KV is read once.
        rows = queries[group.padded].view(num_requests, num_rows, kv_heads, -1, dim)
        shared = rows.shape[3]
        rows = rows.permute(0, 2, 3, 1, 4).reshape(num_requests, kv_heads, -1, dim)
        mask = self._mask(number, self.storage.layers[layer].sliding_window, shared)
        if softcap is None:
            read = nn.functional.scaled_dot_product_attention(
                rows, keys, values, attn_mask=mask, scale=scale
            )
        else:
            scores = rows.float() @ keys.float().mT * scale
            weights = (softcap * torch.tanh(scores / softcap) + mask.float()).softmax(-1)
            read = (weights @ values.float()).to(values.dtype)
        read = read.view(num_requests, kv_heads, shared, num_rows, -1).permute(0, 3, 1, 2, 4)
        return read.reshape(num_requests * num_rows, kv_heads * shared, -1)

    def _list_slots(self, number: int) -> Tensor:
        """[B, S]: the slots of each request's tokens, oldest first, then what is masked."""
        if number not in self._slots:
            group, size = self.groups[number], self.batch.block_size
            offsets = torch.arange(size, device=group.tables.device)
            slots = group.tables.view(group.num_requests, -1, 1) * size + offsets
            self._slots[number] = slots.view(group.num_requests, -1)
        return self._slots[number]

    def _mask(self, number: int, window: int | None, shared: int) -> Tensor:
        """[B, 1, shared · R, S], 0 where a row sees a token and −inf elsewhere."""
        key = (number, window, shared)
        if key not in self._masks:
            seen = self._visible(number, window)
            mask = torch.zeros(seen.shape, dtype=self.storage.dtype, device=seen.device)
            mask.masked_fill_(~seen, -torch.inf)
            whole = mask[:, None].expand(-1, shared, -1, -1)
            self._masks[key] = whole.reshape(len(mask), 1, -1, mask.shape[2])
        return self._masks[key]

    def _visible(self, number: int, window: int | None) -> Tensor:
        """[B, R, S] bool: which tokens each row sees."""
        group = self.groups[number]
        num_requests, most = group.num_requests, group.num_rows
        columns = torch.arange(self._list_slots(number).shape[1], device=group.contexts.device)
        place = columns - group.contexts[:, None]  # [B, S], among the request's own rows
        own = torch.arange(most, device=columns.device)[None, :, None]
        within = place.clamp(0, most - 1)
        if len(group.own):
            mask = group.own.view(num_requests, most, most).bool()
            inside = ((place >= 0) & (place < most))[:, None]
            seen = mask.gather(2, within[:, None].expand(-1, most, -1)) & inside
            seen = seen | (place < 0)[:, None]
        else:
            seen = place[:, None] <= own
        if window is not None:
            positions = self.batch.positions[group.padded].view(num_requests, most)
            at = torch.where(place < 0, columns, positions.gather(1, within))
            seen = seen & (positions[:, :, None] - at[:, None] < window)
        return seen
