"""The one sampler: plain decoding and deterministic drafts take their tokens here."""

from __future__ import annotations

import torch
from torch import Tensor

from fairdraft.draft import Draft
from fairdraft.errors import RequestError
from fairdraft.request import Request
from fairdraft.sampling import device_kernels
from fairdraft.sampling.filters import adjust, needs_history, probabilities
from fairdraft.sampling.kernels import pick
from fairdraft.sampling.laws import sample
from fairdraft.sampling.noise import Purpose, bits, race, uniform

NOTHING_LEFT = (
    "no token can be sampled: logit_bias, bad_words or min_tokens forbid all of them; "
    "allow at least one"
)


def draw(law: Tensor, u: float) -> int:
    """Token whose share of [0, 1) holds `u`, shares laid out by token id (inverse transform).

    Args:
        law: [V], non-negative, with a positive sum; need not be normalised.
        u: in [0, 1).

    Raises:
        RequestError: every token is forbidden, or the logits are no numbers.
    """
    if law.device.type != "cpu":
        token = int(device_kernels.pick(law[None], law.new_full((1,), u, dtype=torch.float64)))
    else:
        token = int(pick(law.numpy(), u))
    if token < 0:
        raise RequestError(NOTHING_LEFT)
    return token


def draw_coupled(law: Tensor, seed: int, position: int) -> int:
    """Token of the Gumbel draw at `position`: target and drafter share its noise.

    Args:
        law: [V], as in `draw`.
        seed: the request's.
        position: index in the sequence of the token to draw.

    Raises:
        RequestError: as in `draw`.
    """
    key = bits(seed, Purpose.COUPLED, position)
    if law.device.type != "cpu":
        signed = key - (1 << 64) if key >> 63 else key
        keys = torch.full((1,), signed, device=law.device)
        token = int(device_kernels.race(law[None], keys))
    else:
        token = race(law.float().numpy(), key)
    if token < 0:
        raise RequestError(NOTHING_LEFT)
    return token


class DraftNoise:
    """How drafters draw: every draft token that is drawn is drawn here.

    Args:
        coupled: whether the target's own noise is shared (`rejection_sample_method` "coupled").
    """

    def __init__(self, coupled: bool = False) -> None:
        self.coupled = coupled

    def draw(self, request: Request, index: int, law: Tensor, sibling: int = 0) -> int:
        """A draft token.

        Args:
            request: for which; `request.token_ids` ends with the newest token.
            index: draft tokens before this one on its path: its depth.
            law: [V] non-negative, over the target's vocabulary.
            sibling: tells apart several draws in this round at this depth.
        """
        start = request.num_tokens
        if self.coupled:
            return draw_coupled(law, request.seed, start + index)
        return draw(law, uniform(request.seed, Purpose.DRAFT, start, index, sibling))


class RoundDraws:
    """The decisions of one verification, from the request's keyed noise.

    Keyed by the round's start, not by position: a round may look at draft tokens that it then
    draws anew, and must not meet its own noise again.

    Args:
        request: before its tokens are appended.
    """

    def __init__(self, request: Request) -> None:
        self.seed = request.seed
        self.start = request.num_tokens

    def uniform(self) -> float:
        """A draw in [0, 1) for the round as a whole."""
        return uniform(self.seed, Purpose.ACCEPT, self.start)

    def chance(self, node: int) -> float:
        """The draw in [0, 1) below whose probability draft token `node` stands."""
        return uniform(self.seed, Purpose.ACCEPT, self.start, node)

    def recovery(self, row: int) -> float:
        """The draw in [0, 1) of a token to stand at `row`."""
        return uniform(self.seed, Purpose.RECOVER, self.start, row)

    def accept(self, node: int, probability: float) -> bool:
        """Whether draft token `node` stands, which has this probability."""
        return self.chance(node) < float(probability)

    def token(self, row: int, law: Tensor) -> int:
        """A token from `law` [V] to stand at `row`."""
        return draw(law, self.recovery(row))


class TargetRows:
    """The target's law at each row of one request's verification run, worked out when asked for.

    Row 0 stands behind the request's tokens, row n + 1 behind draft node n and those before it on
    its path. Rows that are never asked for cost nothing.

    Args:
        request: whose rows they are.
        draft: the draft.
        logits: [1 + len(draft), V].
        argmax: the rows' likeliest tokens, taken for the whole batch at once; only a greedy
            request looks at them.
        coupled: whether tokens are drawn by Gumbel noise that drafters share.
    """

    def __init__(
        self,
        request: Request,
        draft: Draft,
        logits: Tensor,
        argmax: list[int],
        coupled: bool = False,
    ) -> None:
        self.request = request
        self.draft = draft
        self.logits = logits
        self.argmax = argmax
        self.coupled = coupled
        self._adjusts = needs_history(request)

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, row: int) -> Tensor:
        """[V] float32: the law that the row's token is drawn from."""
        return probabilities(self._adjusted(row), self.request.params)

    def _adjusted(self, row: int) -> Tensor:
        if not self._adjusts:
            return self.logits[row]
        return adjust(self.logits[row], self.request, self.draft.tokens_before(row))

    def token(self, row: int) -> int:
        """The token that plain decoding would say there: the argmax, or the keyed draw."""
        params = self.request.params
        if params.greedy:
            if not self._adjusts:
                return self.argmax[row]
            adjusted = self._adjusted(row)
            token = int(adjusted.argmax())
            if adjusted[token] == -torch.inf:
                raise RequestError(NOTHING_LEFT)
            return token
        seed = self.request.seed
        position = self.request.num_tokens + self.draft.depths[row]
        if self.coupled:
            return draw_coupled(self[row], seed, position)
        u = uniform(seed, Purpose.TARGET, position)
        logits = self._adjusted(row).detach().float().cpu().numpy()
        token = int(sample(logits, params.temperature, params.min_p, params.top_k, params.top_p, u))
        if token < 0:
            raise RequestError(NOTHING_LEFT)
        return token
