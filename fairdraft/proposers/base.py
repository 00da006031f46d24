"""What a proposer is: the object that drafts. The model inside it, if any, is the drafter.

A subclass overrides `propose`, and of the rest what it needs. Thirty lines suffice for a simple
one; register it under the entry-point group "fairdraft.proposers" and use it by name:

    [project.entry-points."fairdraft.proposers"]
    my-method = "my_package:MyProposer"

    LLM(model, speculative_config={"method": "my-method", "num_speculative_tokens": 4})
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairdraft.draft import Draft
from fairdraft.request import Request
from fairdraft.sampling.sampler import DraftNoise


@dataclass(frozen=True)
class Needs:
    """What a proposer asks of the engine.

    Args:
        layers: ids of target hidden states to hand to `observe`, as in `hidden_states[k]`.
        num_lookahead_tokens: KV slots reserved behind each request's rows.
        next_token: whether the drafter's KV at a slot depends on the token after it. Blocks are
            then reused only where the token behind them is the same too.
        rows: whether `observe` is to be shown the rows of each step; False gathers nothing.
    """

    layers: tuple[int, ...] = ()
    num_lookahead_tokens: int = 0
    next_token: bool = False
    rows: bool = True


@dataclass(frozen=True)
class Settled:
    """What stands after a step: prompt chunks and accepted tokens of every request that ran.

    R rows in all; rows of rejected drafts are left out. A proposer whose `Needs.rows` is False gets
    `request_ids` and `seconds` alone.

    Args:
        request_ids: the requests, in order.
        cu_rows: [B + 1], first row of each request.
        token_ids: [R], the tokens that ran.
        next_token_ids: [R], the token after each: the request's next token; for the last row of a
            request that decodes, its newest token.
        positions: [R].
        slots: [R], where their KV lies.
        hidden: layer id → [R, d] for the layers in `Needs`.
        seconds: that the step took so far: all of it but drafting.
    """

    request_ids: Sequence[str]
    cu_rows: Sequence[int] = ()
    token_ids: Sequence[int] = ()
    next_token_ids: Sequence[int] = ()
    positions: Sequence[int] = ()
    slots: Sequence[int] = ()
    hidden: Mapping[int, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Proposer(ABC):
    """Drafts for the requests that decode.

    Attributes:
        needs: what it asks of the engine.
        drafts_trees: whether a draft may be a tree.
        is_lookup: whether drafts are chosen, never drawn, at next to no cost, and nothing is kept
            of them: a hybrid may then look at a draft and leave it.

    Args:
        num_speculative_tokens: the longest draft it will be asked for.
        options: the method's own keys of `speculative_config`, as keyword arguments.
    """

    needs = Needs()
    drafts_trees = False
    is_lookup = False

    def __init__(self, num_speculative_tokens: int) -> None:
        self.num_speculative_tokens = num_speculative_tokens

    def bind(self, target: Any) -> None:
        """Meet the target's runner once, before the first request: borrow what is shared."""

    def start(self, request: Request) -> None:
        """A request begins to run; again after each preemption, with its KV gone.

        Tokens before the first position that `observe` then shows were found in the prefix cache.
        """

    def observe(self, rows: Settled) -> None:
        """See what stands after a step. Called every step, whether or not drafts are wanted."""

    def defer(self, rows: Settled) -> None:
        """See what stands after a step, called in place of `observe` while nobody wants drafts.

        A drafter to which seeing is dear may keep some of it, and catch up when it is asked.
        """
        self.observe(rows)

    def num_deferred(self, request_ids: Sequence[str]) -> int:
        """Settled of these requests that it would have to catch up on before it drafts."""
        return 0

    def catch_up(self, request_ids: Sequence[str]) -> None:
        """Read what was deferred of these requests; `propose` does it otherwise."""

    def rests(self, requests: Sequence[Request]) -> bool:
        """Whether it would draft nothing for these, whatever the budgets: `propose` is then left
        out. Asked once a step, if any request decodes.
        """
        return False

    @abstractmethod
    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """One draft a request.

        Args:
            requests: those that decode; `request.token_ids` ends with the newest token.
            budgets: the most draft tokens of use for each, at least 1; of a tree, its nodes.
            slots: lookahead slots of each, as many as `needs` asks for.
            noise: `noise.draw(request, index, law)` draws a token, for drafters that sample.

        Returns:
            A draft each, in the same order, perhaps empty. A draft may be cut by any rule that does
            not look at a sampled token's own value or at what follows it.
        """

    def finish(self, request_id: str) -> None:
        """A request ended; forget it."""


def flaw_of(draft: object, vocab_size: int, drafts_trees: bool) -> str | None:
    """Return what is wrong with a proposer's draft, as a sentence; None where nothing is.

    Args:
        draft: what was drafted, perhaps no `Draft` at all.
        vocab_size: of the target.
        drafts_trees: what the proposer says of itself.
    """
    if not isinstance(draft, Draft):
        return f"{draft!r} was returned where a Draft belongs"
    if not (draft.is_chain or drafts_trees):
        return "a tree was drafted, but drafts_trees is False"
    for token in draft.token_ids:
        if not (type(token) is int and 0 <= token < vocab_size):
            return f"{token!r} was drafted, which is outside the vocabulary of {vocab_size} tokens"
    if draft.probs is not None and len(draft.probs) != len(draft):
        return f"{len(draft)} tokens were drafted with {len(draft.probs)} laws"
    return None


class PerRequestProposer(Proposer):
    """A proposer that drafts for each request by itself."""

    @abstractmethod
    def draft(self, request: Request, budget: int, noise: DraftNoise) -> Draft:
        """One request's draft; arguments as in `propose`."""

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """One draft a request, one after the other."""
        return [self.draft(r, budget, noise) for r, budget in zip(requests, budgets, strict=True)]
