"""The two nouns that proposers, verifiers and the engine exchange: a draft and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Draft:
    """Guesses for the next tokens of one request: a chain, or a tree of alternatives.

    Row 0 of a verification run stands behind the request's newest token, row n + 1 behind node n.

    Args:
        token_ids: one token a node, in topological order; may be empty.
        parents: per node the index of the node before it, −1 where it comes first; always smaller
            than the node's own index, so any beginning of a draft is a draft. None is a chain.
        probs: [len(token_ids), V], the law each token was drawn from (for a sibling drawn without
            replacement, the law without its elder siblings); None means the tokens were chosen,
            not drawn (a point mass each).

    Raises:
        ValueError: `parents` is not in topological order, or of another length.
    """

    token_ids: tuple[int, ...] = ()
    parents: tuple[int, ...] | None = None
    probs: Any = None

    def __post_init__(self) -> None:
        if self.parents is None:
            return
        if len(self.parents) != len(self.token_ids):
            raise ValueError(f"{len(self.token_ids)} nodes have {len(self.parents)} parents")
        for node, parent in enumerate(self.parents):
            if not -1 <= parent < node:
                raise ValueError(f"node {node} has the parent {parent}, which must come before it")
        if self.parents == tuple(range(-1, len(self.parents) - 1)):
            object.__setattr__(self, "parents", None)

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def is_chain(self) -> bool:
        """Whether each node follows the one before it."""
        return self.parents is None

    def parent(self, node: int) -> int:
        """The node before `node`; −1 if it comes first."""
        return node - 1 if self.parents is None else self.parents[node]

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Per row the nodes that may follow it, in order."""
        if self.parents is None:
            return (*((node,) for node in range(len(self))), ())
        rows: list[list[int]] = [[] for _ in range(len(self) + 1)]
        for node, parent in enumerate(self.parents):
            rows[parent + 1].append(node)
        return tuple(map(tuple, rows))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Per row how many draft tokens stand before it: its position, counted from row 0."""
        depths = [0]
        for node in range(len(self)):
            depths.append(depths[self.parent(node) + 1] + 1)
        return tuple(depths)

    def path(self, row: int) -> tuple[int, ...]:
        """The nodes from the first down to the one that `row` stands behind."""
        nodes: list[int] = []
        while row:
            nodes.append(row - 1)
            row = self.parent(row - 1) + 1
        return tuple(reversed(nodes))

    def tokens_before(self, row: int) -> tuple[int, ...]:
        """The draft tokens before `row`, along its own path."""
        return tuple(self.token_ids[node] for node in self.path(row))

    def trimmed(self, length: int) -> Draft:
        """The first `length` nodes; any beginning of a draft is a draft."""
        if length >= len(self):
            return self
        length = max(length, 0)
        probs = None if self.probs is None else self.probs[:length]
        parents = None if self.parents is None else self.parents[:length]
        return Draft(self.token_ids[:length], parents, probs)


EMPTY_DRAFT = Draft()


@dataclass(frozen=True)
class Verdict:
    """What verification decided for one draft.

    Args:
        path: indices of the accepted nodes, from the first down.
        token: the one token after them: the recovered token after a rejection, the bonus token
            where everything was accepted.
    """

    path: tuple[int, ...]
    token: int

    @property
    def num_accepted(self) -> int:
        """How many draft tokens stand."""
        return len(self.path)
