"""A step's logits, requests and drafts to verdicts: compiled on the CPU, row by row elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fairdraft.draft import Draft, Verdict
from fairdraft.engine.scheduler import ScheduledRequest
from fairdraft.errors import RequestError
from fairdraft.models.cpu import threads
from fairdraft.request import Request
from fairdraft.sampling.batch import Memory, RoundBatch
from fairdraft.sampling.on_device import device_rows
from fairdraft.sampling.rounds import Way, verify_piece_at
from fairdraft.sampling.sampler import NOTHING_LEFT, RoundDraws
from fairdraft.verification import Rule, SyntheticRule, block, standard, synthetic

_COMPILED: dict[Callable[..., Verdict], Way] = {standard: Way.STANDARD, block: Way.BLOCK}
_PIECES = 4  # a thread, so that one without a core holds up little
_kernel = threads.Kernel(verify_piece_at)


def _share(job: npt.NDArray[np.int64], pieces: int) -> None:
    threads.run(_kernel, job, pieces)


class Verifier:
    """Decides a step's rounds under one rule.

    Args:
        rule: which drafts stand.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._memory = Memory()

    def verdicts(
        self, step: Sequence[ScheduledRequest], spans: Sequence[slice], logits: Tensor
    ) -> list[Verdict | None]:
        """Decide a step's rounds, and end those requests whose filters leave no token.

        Args:
            step: what was scheduled.
            spans: each entry's rows among the logits.
            logits: [R, V].

        Returns:
            One entry a request: None in the middle of a prompt, and where the request ended.
        """
        wanted = [
            (entry.request, entry.draft, span)
            for entry, span in zip(step, spans, strict=True)
            if entry.num_logit_rows
        ]
        decided = iter(self.decide(wanted, logits))
        verdicts = [next(decided) if entry.num_logit_rows else None for entry in step]
        for entry, verdict in zip(step, verdicts, strict=True):
            if verdict is None and entry.num_logit_rows:
                entry.request.end("error", RequestError(NOTHING_LEFT))
        return verdicts

    def decide(
        self, wanted: Sequence[tuple[Request, Draft, slice]], logits: Tensor
    ) -> list[Verdict | None]:
        """Decide rounds: requests with their drafts and rows; None where no token is left."""
        if logits.device.type != "cpu":
            return self._on_device(wanted, logits)
        batch = RoundBatch(logits)
        for request, draft, span in wanted:
            batch.add(request, draft, span.start, *self._way(request, draft))
        return batch.verdicts(self._memory, _share, _PIECES * threads.count())

    def _way(self, request: Request, draft: Draft) -> tuple[Way, int | None]:
        """Return how a round is decided; of acceptance by decree, the row behind what stands."""
        rule, greedy = self.rule, request.params.greedy
        if rule.verify_drawn is not None and not rule.matches(draft, greedy):
            return _COMPILED[rule.verify_drawn], None
        way = Way.LIKELIEST if greedy else Way.RACE if rule.shares_noise else Way.DRAW
        if isinstance(rule, SyntheticRule):
            u = RoundDraws(request).uniform()
            return way, synthetic(draft, rule.acceptance_rates, u, lambda row: row).token
        return way, None

    def _on_device(
        self, wanted: Sequence[tuple[Request, Draft, slice]], logits: Tensor
    ) -> list[Verdict | None]:
        entries = [(request, draft) for request, draft, _ in wanted]
        targets = device_rows(entries, logits, self.rule.shares_noise)
        verdicts: list[Verdict | None] = []
        for (request, draft), target in zip(entries, targets, strict=True):
            draws, greedy = RoundDraws(request), request.params.greedy
            try:
                verdicts.append(self.rule.verify(target, draft, draws, greedy))
            except RequestError:  # this request's own: its filters leave no token
                verdicts.append(None)
        return verdicts
