"""Drafting one token, or one level of a tree, a run: what draft models and EAGLE share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairdraft.config import require, require_int, require_number
from fairdraft.draft import EMPTY_DRAFT, Draft
from fairdraft.proposers.base import Proposer
from fairdraft.proposers.drafting.trees import GrowingTree
from fairdraft.request import Request
from fairdraft.sampling.filters import probabilities
from fairdraft.sampling.sampler import DraftNoise

SAMPLE_METHODS = ("greedy", "probabilistic")


@dataclass
class Underway:
    """A request's draft while it is being made.

    Attributes:
        request: whose it is.
        nodes: what has run, and runs next. Empty at first: then the text's own end runs.
        num_newest: how many nodes run next, the last of `nodes`; of the text it is the last token.
    """

    request: Request
    nodes: Draft = EMPTY_DRAFT
    num_newest: int = 1


@dataclass
class _Chain(Underway):
    limit: int = 0
    tokens: list[int] = field(default_factory=list)
    laws: list[Tensor] = field(default_factory=list)


@dataclass
class _Tree(Underway):
    growing: GrowingTree = field(default_factory=lambda: GrowingTree(0, 0))


class StepwiseProposer(Proposer):
    """Drafts with a network that says, run by run, what may come next; batched over requests.

    Attributes:
        vocab_size: the target's; set by `bind`.
        target_ids: [drafter's vocabulary] int64, the target's id of each token the drafter knows;
            None where both have the same.

    Args:
        num_speculative_tokens: draft length k; of a tree, its nodes.
        draft_sample_method: "greedy" chooses the likeliest token; "probabilistic" draws from the
            drafter's law under the request's own temperature and filters. Greedy requests get
            chosen drafts either way.
        draft_confidence_threshold: a draft ends before a token whose likeliest candidate has less
            than this probability under the drafter; a tree takes no node whose path has less. 0 is
            off.
        draft_tree_top_k: above 1, drafts are trees: so many candidates run a level, each with so
            many alternatives behind it, and the num_speculative_tokens likeliest are drafted.
        draft_tree_depth: levels of a tree; None takes half of num_speculative_tokens, rounded up.

    Raises:
        ConfigError: a value out of range, or trees that should be drawn.
    """

    vocab_size: int
    target_ids: Tensor | None = None

    def __init__(
        self,
        num_speculative_tokens: int,
        draft_sample_method: str = "greedy",
        draft_confidence_threshold: float = 0.0,
        draft_tree_top_k: int = 1,
        draft_tree_depth: int | None = None,
    ) -> None:
        super().__init__(num_speculative_tokens)
        require(
            draft_sample_method in SAMPLE_METHODS,
            f"draft_sample_method is {draft_sample_method!r}, but must be one of "
            f"{', '.join(SAMPLE_METHODS)}",
        )
        require_number(
            "draft_confidence_threshold", draft_confidence_threshold, 0, 1, "0 never stops early"
        )
        require_int("draft_tree_top_k", draft_tree_top_k, 1, "1 drafts chains")
        if draft_tree_depth is not None:
            require_int("draft_tree_depth", draft_tree_depth, 1, "leave it out for the default")
        self.width = draft_tree_top_k
        self.depth = draft_tree_depth or (num_speculative_tokens + 1) // 2
        self.drafts_trees = draft_tree_top_k > 1
        require(
            not self.drafts_trees or draft_sample_method == "greedy",
            f"draft_tree_top_k is {draft_tree_top_k}, but trees are chosen, not drawn: set "
            "draft_sample_method to 'greedy', or draft_tree_top_k to 1",
        )
        self.threshold = float(draft_confidence_threshold)
        self.probabilistic = draft_sample_method == "probabilistic"

    @property
    def most_run(self) -> int:
        """Nodes of a draft that run at most: the last token, or level, never does."""
        if self.drafts_trees:
            return self.width * (self.depth - 1)
        return self.num_speculative_tokens - 1

    @abstractmethod
    def room(self, slots: Sequence[int]) -> int:
        """How many nodes can run with these lookahead slots; −1 if not even the text's end can."""

    @abstractmethod
    def run(self, underway: Sequence[Underway]) -> Tensor:
        """[newest nodes of all drafts, drafter's vocabulary] logits of what comes behind each."""

    def drafted(self, underway: Sequence[Underway]) -> None:
        """The drafts are made; those of chains have run but for their last token."""

    def propose(
        self,
        requests: Sequence[Request],
        budgets: Sequence[int],
        slots: Sequence[Sequence[int]],
        noise: DraftNoise,
    ) -> list[Draft]:
        """All requests side by side."""
        able = [
            (request, budget, self.room(own))
            for request, budget, own in zip(requests, budgets, slots, strict=True)
            if self.room(own) >= 0
        ]
        made = self._trees(able) if self.drafts_trees else self._chains(able, noise)
        return [made.get(request.request_id, EMPTY_DRAFT) for request in requests]

    def _chains(self, able: list[tuple[Request, int, int]], noise: DraftNoise) -> dict[str, Draft]:
        chains = [_Chain(request, limit=min(b, room + 1)) for request, b, room in able]
        while active := [chain for chain in chains if len(chain.tokens) < chain.limit]:
            logits = self.run(active)
            argmax = logits.argmax(-1)
            likeliest = self._targets(argmax).tolist()
            for row, chain in enumerate(active):
                self._write(chain, logits[row], int(argmax[row]), likeliest[row], noise)
                chain.nodes = Draft(tuple(chain.tokens))
        self.drafted(chains)
        return {
            chain.request.request_id: Draft(tuple(chain.tokens), probs=chain.laws or None)
            for chain in chains
        }

    def _write(
        self, chain: _Chain, logits: Tensor, argmax: int, likeliest: int, noise: DraftNoise
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
        law = self._law(logits, chain.request)
        chain.tokens.append(noise.draw(chain.request, len(chain.tokens), law))
        chain.laws.append(law)

    def _law(self, logits: Tensor, request: Request) -> Tensor:
        """[target's vocabulary]: the drafter's law; 0 for tokens that it does not know."""
        law = probabilities(logits, request.params)
        if self.target_ids is None and len(law) == self.vocab_size:
            return law
        full = law.new_zeros(self.vocab_size)
        full[slice(len(law)) if self.target_ids is None else self.target_ids] = law
        return full

    def _targets(self, ids: Tensor) -> Tensor:
        return ids if self.target_ids is None else self.target_ids[ids]

    def _trees(self, able: list[tuple[Request, int, int]]) -> dict[str, Draft]:
        trees = [
            _Tree(request, growing=GrowingTree(budget, self.width, self.threshold))
            for request, budget, _ in able
        ]
        room = {request.request_id: most for request, _, most in able}
        for level in range(self.depth):
            active = [tree for tree in trees if tree.num_newest]
            if not active:
                break
            laws = torch.softmax(self.run(active).float(), -1)
            best = laws.topk(min(self.width, laws.shape[1]), -1)
            shares, tokens = best.values.tolist(), self._targets(best.indices).tolist()
            row = 0
            for tree in active:
                rows = slice(row, row + tree.num_newest)
                row = rows.stop
                most = room[tree.request.request_id] if level + 1 < self.depth else 0
                tree.growing.grow(tokens[rows], shares[rows], most)
                tree.nodes, tree.num_newest = tree.growing.run, tree.growing.num_newest
        self.drafted(trees)
        return {tree.request.request_id: tree.growing.draft() for tree in trees}
