"""Seconds of a server's steps under one method and draft length, looked up step after step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairdraft.economics.costs.prompt_costs import Chunk, PromptCosts
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.errors import ConfigError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class ServingCosts:
    """Seconds of steps that read prompt chunks, decode, or do both.

    What was not measured is priced in a straight line: refuse it before.

    Args:
        costs: of steps, prompts among them.
        method: who drafts; None: nobody.
        k: draft length; 0 without drafting.

    Raises:
        ConfigError: prompts have no price.
    """

    def __init__(self, costs: StepCosts, method: str | None, k: int) -> None:
        if costs.prompts is None:
            raise ConfigError(
                f"{costs.step.name} does not say what reading a prompt takes, so that no whole run "
                "can be predicted: take a profile, with prompts in it"
            )
        self.prompts: PromptCosts = costs.prompts
        self.method = method if k else None
        self.k = k if method is not None else 0
        self._costs = costs
        self._contexts = np.asarray(costs.step.contexts, np.float64)
        # By requests: seconds by context and draft tokens, and of drafting by context.
        self._planes: dict[int, tuple[FloatArray, FloatArray]] = {}

    def decode(self, requests: int, drafted: IntArray, context: FloatArray) -> FloatArray:
        """Return the seconds of steps in which nobody reads a prompt, drafting included: [n].

        Args:
            requests: that decode.
            drafted: [n] draft tokens that each step verifies, of all requests together.
            context: [n] mean tokens of a request.
        """
        steps, drafting = self._plane(requests)
        low, share = self._place(context)
        places = np.minimum(drafted, steps.shape[1] - 1)
        both = steps + drafting[:, None]
        if len(both) == 1:
            return np.asarray(both[0, places])
        found: FloatArray = both[low, places] * (1 - share) + both[low + 1, places] * share
        return found

    def mixed(
        self, chunks: Sequence[Chunk], requests: int = 0, drafted: int = 0, context: float = 0.0
    ) -> float:
        """Return the seconds of a step that reads prompt chunks, drafting and reading included.

        Args:
            chunks: at least one.
            requests: that decode beside them.
            drafted: draft tokens of those, all together.
            context: mean tokens of those.
        """
        decoding = drafting = 0.0
        if requests:
            whole = float(self.decode(requests, np.array([drafted]), np.array([context]))[0])
            drafting = float(np.interp(context, self._contexts, self._plane(requests)[1]))
            decoding = whole - drafting
        read = self.prompts.read(self.method, sum(rows for rows, _ in chunks))
        return self.prompts.step(chunks, requests + drafted, decoding) + drafting + read

    def _place(self, context: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the measured context below each, and its share of the way to the next: [n]."""
        knots = self._contexts
        if len(knots) == 1:
            return np.zeros(len(context), np.int64), np.zeros(len(context))
        low = np.minimum(np.maximum(np.searchsorted(knots, context) - 1, 0), len(knots) - 2)
        share = (np.maximum(context, knots[0]) - knots[low]) / (knots[low + 1] - knots[low])
        return low, share

    def _plane(self, requests: int) -> tuple[FloatArray, FloatArray]:
        if requests not in self._planes:
            self._planes[requests] = self._worked_out(requests)
        return self._planes[requests]

    def _worked_out(self, requests: int) -> tuple[FloatArray, FloatArray]:
        """Return seconds of steps [contexts, drafted + 1], and of drafting [contexts]."""
        costs, contexts = self._costs, self._contexts
        drafter = costs.drafters[self.method] if self.method is not None else None
        if self.method is not None and drafter is None:  # a sweep: drafting is in its steps
            swept = replace(costs, context=float(contexts[0])).draw()
            taken = float(swept.seconds(self.method, self.k, requests)[0])
            return np.full((len(contexts), 1), taken), np.zeros(len(contexts))
        rows = (1 + np.arange(requests * self.k + 1) / requests).tolist()
        steps = np.stack([costs.step.table([requests], rows, each)[0] for each in contexts])
        steps = np.maximum.accumulate(steps, axis=1)
        drafting = np.zeros(len(contexts))
        if drafter is not None:
            drafting = np.array(
                [float(drafter.table([requests], [self.k], each)[0, 0]) for each in contexts]
            )
        return steps, drafting
