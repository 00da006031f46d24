"""Drafting one token, or one level of a tree, a run: the loop around every drafter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.proposers.drafting.drafter import Drafter, Underway
from fairdraft.proposers.drafting.trees import GrowingTree
from fairdraft.proposers.options import DraftOptions, DraftShape
from fairdraft.request import Request
from fairdraft.sampling.filters import probabilities
from fairdraft.sampling.sampler import DraftNoise


@dataclass
class _Chain(Underway):
    """A chain under way: its tokens, the laws they were drawn from, and its most tokens."""

    limit: int = 0
    tokens: list[int] = field(default_factory=list)
    laws: list[Tensor] = field(default_factory=list)


@dataclass
class _Tree(Underway):
    """A tree under way."""

    growing: GrowingTree = field(default_factory=lambda: GrowingTree(0, 0))


class DraftLoop:
    """Makes drafts of what a drafter says, run by run.

    Args:
        options: how tokens are chosen, and when a draft ends.
        shape: of the drafts.
        vocab_size: the target's.
    """

    def __init__(self, options: DraftOptions, shape: DraftShape, vocab_size: int) -> None:
        self.shape = shape
        self.vocab_size = vocab_size
        self.threshold = float(options.draft_confidence_threshold)
        self.probabilistic = options.probabilistic

    def drafts(
        self,
        drafter: Drafter,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """Draft for all requests side by side; arguments as in `Proposer.propose`."""
        able = [
            (request, budget, room)
            for request, budget, own in zip(requests, budgets, slots, strict=True)
            if (room := drafter.room(own)) >= 0
        ]
        if self.shape.is_tree:
            made = self._trees(drafter, able)
        else:
            made = self._chains(drafter, able, noise)
        return [made.get(request.request_id, EMPTY_DRAFT) for request in requests]

    def _chains(
        self, drafter: Drafter, able: list[tuple[Request, int, int]], noise: DraftNoise
    ) -> dict[str, Draft]:
        """Draft chains, by request; `able` are requests with their budget and room."""
        chains = [_Chain(request, limit=min(b, room + 1)) for request, b, room in able]
        while active := [chain for chain in chains if len(chain.tokens) < chain.limit]:
            logits = drafter.run(active)
            best = logits.argmax(-1)
            argmax, likeliest = best.tolist(), _target_ids(drafter, best).tolist()
            for row, chain in enumerate(active):
                self._write(drafter, chain, logits[row], argmax[row], likeliest[row], noise)
                chain.nodes = Draft(tuple(chain.tokens))
        drafter.drafted(chains)
        return {
            chain.request.request_id: Draft(tuple(chain.tokens), probs=chain.laws or None)
            for chain in chains
        }

    def _write(
        self,
        drafter: Drafter,
        chain: _Chain,
        logits: Tensor,
        argmax: int,
        likeliest: int,
        noise: DraftNoise,
    ) -> None:
        """Add a token, or end the chain because the drafter is unsure of what it would be.

        That looks at the law, never at the token drawn from it: the only rule that is lossless.
        """
        params = chain.request.params
        if self.threshold:
            temperature = params.temperature or 1.0
            if float(torch.softmax(logits.float() / temperature, -1)[argmax]) < self.threshold:
                chain.limit = 0
                return
        if params.greedy or not self.probabilistic:
            chain.tokens.append(likeliest)
            return
        law = self._law(drafter, logits, chain.request)
        chain.tokens.append(noise.draw(chain.request, len(chain.tokens), law))
        chain.laws.append(law)

    def _law(self, drafter: Drafter, logits: Tensor, request: Request) -> Tensor:
        """Return the drafter's law [target's vocabulary]; 0 for tokens that it does not know."""
        law = probabilities(logits, request.params)
        if drafter.target_ids is None and len(law) == self.vocab_size:
            return law
        full = law.new_zeros(self.vocab_size)
        full[slice(len(law)) if drafter.target_ids is None else drafter.target_ids] = law
        return full

    def _trees(self, drafter: Drafter, able: list[tuple[Request, int, int]]) -> dict[str, Draft]:
        """Draft trees, by request; `able` are requests with their budget and room."""
        width, depth = self.shape.width, self.shape.depth
        trees = [
            _Tree(request, growing=GrowingTree(budget, width, self.threshold))
            for request, budget, _ in able
        ]
        room = {request.request_id: most for request, _, most in able}
        for level in range(depth):
            active = [tree for tree in trees if tree.num_newest]
            if not active:
                break
            laws = torch.softmax(drafter.run(active).float(), -1)
            best = laws.topk(min(width, laws.shape[1]), -1)
            shares, tokens = best.values.tolist(), _target_ids(drafter, best.indices).tolist()
            row = 0
            for tree in active:
                rows = slice(row, row + tree.num_newest)
                row = rows.stop
                most = room[tree.request.request_id] if level + 1 < depth else 0
                tree.growing.grow(tokens[rows], shares[rows], most)
                tree.nodes, tree.num_newest = tree.growing.run, tree.growing.num_newest
        drafter.drafted(trees)
        return {tree.request.request_id: tree.growing.draft() for tree in trees}


def _target_ids(drafter: Drafter, ids: Tensor) -> Tensor:
    """Return the target's ids of tokens that the drafter numbers in its own way."""
    return ids if drafter.target_ids is None else drafter.target_ids[ids]
