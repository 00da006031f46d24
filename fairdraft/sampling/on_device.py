"""The sampler for logits that lie on another device than the CPU: all rows of a step at once.

The same filters, penalties, keyed noise and draws as in `filters`, `kernels` and `noise`, a torch
operator over all rows where those loop over a vocabulary. What chance decides is hashed on the host
and sent in one copy; the tokens come back in one transfer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairdraft.draft import Draft
from fairdraft.errors import RequestError
from fairdraft.request import Request
from fairdraft.sampling.device_kernels import filters_anything, pick, race, restrict
from fairdraft.sampling.filters import banned_tokens, needs_history
from fairdraft.sampling.noise import Purpose, bits
from fairdraft.sampling.sampler import NOTHING_LEFT
from fairdraft.transfer import send


@dataclass
class _Changes:
    """What penalties, biases and bans do to single logits, listed for the whole step.

    Each list is (row, token, amount); a token stands at most once a row and list.
    """

    biases: list[tuple[int, int, float]]
    bans: list[tuple[int, int, float]]
    repetitions: list[tuple[int, int, float]]
    counts: list[tuple[int, int, float]]

    @classmethod
    def of(cls, rows: Sequence[tuple[Request, Sequence[int]]]) -> _Changes:
        """List the changes of rows, each a request and the draft tokens before the row."""
        found = cls([], [], [], [])
        for row, (request, drafted) in enumerate(rows):
            if not needs_history(request):
                continue
            params = request.params
            output = [*request.output_token_ids, *drafted]
            found.biases += [(row, int(t), v) for t, v in (params.logit_bias or {}).items()]
            found.bans += [(row, t, 0.0) for t in sorted(set(banned_tokens(request, output)))]
            if params.repetition_penalty != 1:
                seen = sorted({*request.prompt_token_ids, *output})
                found.repetitions += [(row, t, params.repetition_penalty) for t in seen]
            if params.presence_penalty or params.frequency_penalty:
                found.counts += [
                    (row, t, params.presence_penalty + params.frequency_penalty * n)
                    for t, n in Counter(output).items()
                ]
        return found

    def apply(self, logits: Tensor) -> Tensor:
        """Return [R, V] float32 logits with the changes, in the order of `filters.adjust`."""
        lists = (self.biases, self.bans, self.repetitions, self.counts)
        logits = logits.float()
        if not any(lists):
            return logits
        logits = logits.clone()
        places: list[list[int]] = []
        for each in lists:
            places += [[entry[0] for entry in each], [entry[1] for entry in each]]
        amounts = [[entry[2] for entry in each] for each in lists]
        sent = send(logits.device, *places, floats=amounts)
        at = [(sent[2 * i], sent[2 * i + 1]) for i in range(4)]
        bias, _, penalty, count = (amount.float() for amount in sent[8:])
        logits[at[0]] += bias
        logits[at[1]] = -torch.inf
        value = logits[at[2]]
        logits[at[2]] = torch.where(value > 0, value / penalty, value * penalty)
        logits[at[3]] -= count
        return logits


class DeviceRows:
    """The target's laws and own tokens at the rows of one request's verification run.

    Args:
        tokens: per row the token that plain decoding would say there; −1 where none is left.
        laws: [rows, V] float32 on the device; None for greedy requests, which have none.
    """

    def __init__(self, tokens: Sequence[int], laws: Tensor | None) -> None:
        self.tokens = tokens
        self.laws = laws

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> Tensor:
        """[V] float32: the law that the row's token is drawn from."""
        assert self.laws is not None, "greedy requests are matched, which asks for no law"
        return self.laws[row]

    def token(self, row: int) -> int:
        """The token that plain decoding would say there: the argmax, or the keyed draw.

        Raises:
            RequestError: every token is forbidden, or the logits are no numbers.
        """
        if self.tokens[row] < 0:
            raise RequestError(NOTHING_LEFT)
        return self.tokens[row]


def device_rows(
    entries: Sequence[tuple[Request, Draft]], logits: Tensor, coupled: bool
) -> list[DeviceRows]:
    """Work out the laws and the tokens of all rows of a step; the tokens come in one transfer.

    Args:
        entries: each request with its draft; row 0 stands behind its tokens, row n + 1 behind
            draft node n.
        logits: [R, V], 1 + len(draft) rows of each entry, in order.
        coupled: whether tokens are drawn by Gumbel noise that drafters share.
    """
    rows = [(request, draft, row) for request, draft in entries for row in range(1 + len(draft))]
    histories = [
        (request, draft.tokens_before(row) if needs_history(request) else ())
        for request, draft, row in rows
    ]
    adjusted = _Changes.of(histories).apply(logits)
    best = adjusted.max(-1)
    tokens = best.indices.where(best.values > -torch.inf, -1)
    sampled = [i for i, (request, _, _) in enumerate(rows) if not request.params.greedy]
    laws = None
    if sampled:
        purpose = Purpose.COUPLED if coupled else Purpose.TARGET
        keys = [
            bits(request.seed, purpose, request.num_tokens + draft.depths[row])
            for request, draft, row in (rows[i] for i in sampled)
        ]
        requests = [rows[i][0] for i in sampled]
        places, laws, drawn = _sample(adjusted, sampled, requests, keys, coupled)
        tokens = tokens.index_copy(0, places, drawn)
    told: list[int] = tokens.tolist()
    found = []
    row = drawn_rows = 0
    for request, draft in entries:
        count = 1 + len(draft)
        own = None
        if laws is not None and not request.params.greedy:
            own = laws[drawn_rows : drawn_rows + count]
            drawn_rows += count
        found.append(DeviceRows(told[row : row + count], own))
        row += count
    return found


def _sample(
    logits: Tensor,
    places: Sequence[int],
    requests: Sequence[Request],
    keys: Sequence[int],
    coupled: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the places [n] as a tensor, the laws [n, V] of those rows, and a draw [n] from each.

    Args:
        logits: [R, V] float32, adjusted.
        places: n of the rows.
        requests: whose each of them is.
        keys: 64 bits each that name the draw.
        coupled: as in `device_rows`.
    """
    params = [request.params for request in requests]
    sent = send(
        logits.device,
        places,
        [(key - (1 << 64) if key >> 63 else key) if coupled else key >> 11 for key in keys],
        [one.top_k for one in params],
        floats=[
            [one.temperature for one in params],
            [one.min_p for one in params],
            [one.top_p for one in params],
        ],
    )
    at, noise, top_k, temperature, min_p, top_p = sent
    laws = torch.softmax(logits[at] / temperature.float()[:, None], -1)
    vocab_size = logits.shape[1]
    if any(filters_anything(one, vocab_size) for one in params):
        laws = restrict(laws, min_p, top_k, top_p)
    return at, laws, race(laws, noise) if coupled else pick(laws, noise.double() * 2.0**-53)
