"""Trees that grow where the drafter is confident (EAGLE-2, Li et al. 2024, arXiv 2406.16858)."""

from __future__ import annotations

from collections.abc import Sequence

from fairdraft.draft import Draft


class GrowingTree:
    """Candidates of one draft, each worth the product of the confidences along its path.

    Level by level the drafter runs the most valuable candidates of the deepest level and hands
    over the likeliest tokens behind each; at the end the most valuable of all make the draft.
    They are chosen, not drawn, so any way of choosing is lossless.

    Args:
        num_nodes: of the draft.
        width: candidates that run a level.
        least: candidates of less value are dropped.
    """

    def __init__(self, num_nodes: int, width: int, least: float = 0.0) -> None:
        self.num_nodes = num_nodes
        self.width = width
        self.least = least
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._values: list[float] = []
        self._run: list[int] = [-1]  # candidates that ran, the text's own newest token first
        self._level: list[int] = [-1]  # of them, those that ran last

    @property
    def run(self) -> Draft:
        """The candidates that ran and those that run next, in this order."""
        ran = self._run[1:]
        place = {node: i for i, node in enumerate(self._run, start=-1)}
        return Draft(
            tuple(self._tokens[node] for node in ran),
            tuple(place[self._parents[node]] for node in ran),
        )

    @property
    def num_newest(self) -> int:
        """How many candidates run next; they are the last of `run`, or the text itself."""
        return len(self._level)

    def grow(
        self,
        token_ids: Sequence[Sequence[int]],
        probabilities: Sequence[Sequence[float]],
        room: int,
    ) -> None:
        """Take what the drafter says behind each of the newest, and choose whom to run next.

        Args:
            token_ids: per candidate the likeliest tokens behind it, best first.
            probabilities: of these, in the same shape.
            room: candidates at most that may run in all, those before included.
        """
        first = len(self._tokens)
        for node, tokens, shares in zip(self._level, token_ids, probabilities, strict=True):
            before = 1.0 if node < 0 else self._values[node]
            for token, share in zip(tokens, shares, strict=True):
                if before * share >= self.least:
                    self._tokens.append(token)
                    self._parents.append(node)
                    self._values.append(before * share)
        chosen = set(self._best())
        width = min(self.width, room - (len(self._run) - 1))
        fresh = (node for node in range(first, len(self._tokens)) if node in chosen)
        self._level = sorted(fresh, key=self._rank)[: max(width, 0)]
        self._run.extend(self._level)

    def draft(self) -> Draft:
        """The most valuable candidates, best first: no node comes before the one it follows."""
        nodes = self._best()
        place = {node: i for i, node in enumerate(nodes)} | {-1: -1}
        return Draft(
            tuple(self._tokens[node] for node in nodes),
            tuple(place[self._parents[node]] for node in nodes),
        )

    def _rank(self, node: int) -> tuple[float, int]:
        return -self._values[node], node

    def _best(self) -> list[int]:
        return sorted(range(len(self._tokens)), key=self._rank)[: self.num_nodes]
