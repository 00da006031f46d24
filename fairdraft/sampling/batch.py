"""A step's rounds laid out for the compiled pass, and its verdicts read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fairdraft.draft import Draft, Verdict
from fairdraft.request import Request
from fairdraft.sampling.adjustments import adjustments_of
from fairdraft.sampling.filters import needs_history
from fairdraft.sampling.noise import Purpose, bits, uniform
from fairdraft.sampling.rounds import Job, Node, Way, memory_size, verify_piece
from fairdraft.sampling.sampler import RoundDraws

Share = Callable[[npt.NDArray[np.int64], int], None]
"""Does all of a job's so many pieces, in any order and at once if it likes: `verify_piece`."""


def alone(job: npt.NDArray[np.int64], pieces: int) -> None:
    """Do a job's pieces in this thread."""
    for piece in range(pieces):
        verify_piece(job, piece)


class Memory:
    """What rounds are worked out in, kept from step to step: fresh memory is dear to touch."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        """Return where so many bytes are, which the next call may give away again."""
        if self._bytes.size < size:
            self._bytes = np.empty(size, np.uint8)
        return int(self._bytes.ctypes.data)


class RoundBatch:
    """Rounds of several requests on the CPU, each with its own parameters, draft and noise.

    Args:
        logits: [R, V] of the step; float32 is read where it lies.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.float().contiguous()
        self._rounds: list[tuple[int, ...]] = []
        self._filters: list[tuple[float, ...]] = []
        self._draws = [0.0] * len(logits)
        self._keys = [0] * len(logits)
        self._tokens: list[int] = []
        self._parents: list[int] = []
        self._laws: list[int] = []
        self._chances: list[float] = []
        self._words: list[int] = []
        self._numbers: list[float] = []
        self._kept: list[Tensor] = []  # the laws whose addresses are passed on

    def __len__(self) -> int:
        return len(self._rounds)

    def add(
        self, request: Request, draft: Draft, first_row: int, way: Way, only_row: int | None = None
    ) -> None:
        """Lay out a round.

        Args:
            request: before its tokens are appended.
            draft: its draft; with `probs` where the way asks for them.
            first_row: of the logits; it takes 1 + len(draft).
            way: how it is decided.
            only_row: the one row whose own token is wanted, which the path then leads to.
        """
        rows = range(len(draft) + 1) if only_row is None else (only_row,)
        word = number = -1
        if needs_history(request):
            word, number = len(self._words), len(self._numbers)
            words, numbers = adjustments_of(request)
            self._words += words
            self._numbers += numbers
        params = request.params
        only = -1 if only_row is None else only_row
        node, count = len(self._tokens), len(draft)
        self._rounds.append((way, first_row, node, count, only, params.top_k, word, number))
        self._filters.append(self.filters(request, draft))
        self._tokens += draft.token_ids
        self._parents += range(-1, count - 1) if draft.parents is None else draft.parents
        if way in (Way.STANDARD, Way.BLOCK):
            draws = RoundDraws(request)
            self._laws += [self._address(law) for law in draft.probs]
            self._chances += [draws.chance(i) for i in range(count)]
            for row in rows:
                self._draws[first_row + row] = draws.recovery(row)
            return
        self._laws += [0] * count
        self._chances += [0.0] * count
        if way == Way.LIKELIEST:
            return
        for row in rows:
            position = request.num_tokens + draft.depths[row]
            if way == Way.RACE:
                self._keys[first_row + row] = bits(request.seed, Purpose.COUPLED, position)
            else:
                draw = uniform(request.seed, Purpose.TARGET, position)
                self._draws[first_row + row] = draw

    @staticmethod
    def filters(request: Request, draft: Draft) -> tuple[float, ...]:
        """Return a round's numbers, in the order of `Filter`."""
        params = request.params
        return (0.0 if params.greedy else 1 / params.temperature, params.min_p, params.top_p)

    def _address(self, law: Any) -> int:
        """Where a drafter's law lies in memory; a copy if it is not float32 there."""
        row = torch.as_tensor(law, dtype=torch.float32, device="cpu").contiguous()
        if row.shape != self.logits.shape[1:]:
            raise ValueError(
                f"a draft token was drawn from a law of shape {tuple(row.shape)}, but the target's "
                f"vocabulary has {self.logits.shape[1]} tokens"
            )
        self._kept.append(row)
        return row.data_ptr()

    def verdicts(
        self, memory: Memory, share: Share = alone, pieces: int = 1
    ) -> list[Verdict | None]:
        """Decide all rounds.

        Args:
            memory: to work in.
            share: does the work.
            pieces: into how many it may be split.

        Returns:
            A verdict each; None where no token is left or the logits are no numbers.
        """
        if not self._rounds:
            return []
        rounds = np.array(self._rounds, np.int64)
        filters = np.array(self._filters, np.float64)
        draws, keys = np.array(self._draws), np.array(self._keys, np.uint64)
        nodes = np.zeros((len(Node), len(self._tokens)), np.int64)
        nodes[Node.TOKEN], nodes[Node.PARENT] = self._tokens, self._parents
        nodes[Node.LAW] = self._laws
        chances = np.array(self._chances, np.float64)
        words, numbers = np.array(self._words, np.int64), np.array(self._numbers, np.float64)
        results = np.empty((len(rounds), 2), np.int64)
        job = np.zeros(len(Job), np.int64)
        job[Job.VOCAB_SIZE], job[Job.NUM_NODES] = self.logits.shape[1], len(self._tokens)
        job[Job.NUM_WORDS], job[Job.NUM_NUMBERS] = len(words), len(numbers)
        pieces = min(pieces, len(rounds))
        job[Job.NUM_ROUNDS], job[Job.NUM_PIECES] = len(rounds), pieces
        job[Job.MEMORY] = memory.address(pieces * memory_size(self.logits.shape[1]))
        job[Job.LOGITS] = self.logits.data_ptr()
        for place, array in (
            (Job.ROUNDS, rounds),
            (Job.FILTERS, filters),
            (Job.DRAWS, draws),
            (Job.KEYS, keys),
            (Job.NODES, nodes),
            (Job.CHANCES, chances),
            (Job.WORDS, words),
            (Job.NUMBERS, numbers),
            (Job.RESULTS, results),
        ):
            job[place] = array.ctypes.data
        share(job, pieces)
        paths = nodes[Node.PATH].tolist()
        verdicts: list[Verdict | None] = []
        for (_, _, node, *_), (accepted, token) in zip(self._rounds, results.tolist(), strict=True):
            path = tuple(paths[node : node + accepted])
            verdicts.append(Verdict(path, token) if token >= 0 else None)
        return verdicts
