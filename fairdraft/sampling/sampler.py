"""The one sampler: plain decoding and deterministic drafts take their tokens here."""

from __future__ import annotations

import torch
from torch import Tensor

from fairdraft.errors import RequestError
from fairdraft.request import Request
from fairdraft.sampling.filters import adjust, needs_history, probabilities
from fairdraft.sampling.noise import Purpose, uniform


def draw(law: Tensor, u: float) -> int:
    """Token whose share of [0, 1) holds `u`, shares laid out by token id (inverse transform).

    Args:
        law: [V], non-negative, with a positive sum; need not be normalised.
        u: in [0, 1).

    Raises:
        RequestError: every token is forbidden, or the logits are no numbers.
    """
    support = law.nonzero().squeeze(1)
    edges = law[support].double().cumsum(0)
    if not support.numel() or not bool(edges[-1].isfinite()):
        raise RequestError(
            "no token can be sampled: logit_bias, bad_words or min_tokens forbid all of them; "
            "allow at least one"
        )
    place = torch.searchsorted(edges, u * edges[-1], right=True)
    return int(support[place.clamp(max=support.numel() - 1)])


class TargetRows:
    """The target's law at each row of one request's verification run, worked out when asked for.

    Row i stands behind the request's tokens and the first i draft tokens. Rows behind a rejection
    are never asked for, and so cost nothing.

    Args:
        request: whose rows they are.
        draft_token_ids: the draft.
        logits: [1 + len(draft), V].
        argmax: the rows' likeliest tokens, taken for the whole batch at once.
    """

    def __init__(
        self,
        request: Request,
        draft_token_ids: tuple[int, ...],
        logits: Tensor,
        argmax: list[int],
    ) -> None:
        self.request = request
        self.draft_token_ids = draft_token_ids
        self.logits = logits
        self.argmax = argmax
        self._adjusts = needs_history(request)

    def __len__(self) -> int:
        return len(self.argmax)

    def __getitem__(self, i: int) -> Tensor:
        """[V] float32: the law that row i's token is drawn from."""
        return probabilities(self._row(i), self.request.params)

    def _row(self, i: int) -> Tensor:
        if not self._adjusts:
            return self.logits[i]
        return adjust(self.logits[i], self.request, self.draft_token_ids[:i])

    def token(self, i: int) -> int:
        """The token that plain decoding would say at row i: the argmax, or the keyed draw."""
        if self.request.params.greedy:
            return int(self._row(i).argmax()) if self._adjusts else self.argmax[i]
        position = self.request.num_tokens + i
        return draw(self[i], uniform(self.request.seed, Purpose.TARGET, position))
