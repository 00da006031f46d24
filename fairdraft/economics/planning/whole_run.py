"""A benchmark's run predicted from beginning to end: its groups of prompts, read and answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairdraft.economics.costs.profile import Profile
from fairdraft.economics.costs.serving_costs import ServingCosts
from fairdraft.economics.costs.step_costs import StepCosts
from fairdraft.economics.planning.acceptance import Acceptance
from fairdraft.economics.planning.queueing import Limits, simulate
from fairdraft.economics.planning.rounds import round_laws
from fairdraft.peers.base import optional, part

SIMULATED = 256  # requests, at least: groups are repeated with other luck until there are so many
RUN = "the run"
NO_LENGTHS = (
    "The run does not say how long its prompts are: reading them is left out of the predicted "
    "speedup. Measure it again with `fairdraft bench run`."
)
NO_PROMPTS = "The profile has no prompts in it: reading them is left out of the predicted speedup."


@dataclass(frozen=True)
class WholeRuns:
    """A cell's prompts and answers, in groups that run to their end one after the other.

    Args:
        costs: of steps, prompts among them.
        prompts: tokens of each, in order.
        output: tokens of an answer.
        requests: of a group.
    """

    costs: StepCosts
    prompts: tuple[int, ...]
    output: int
    requests: int

    @property
    def context(self) -> float:
        """Mean tokens of a request that decodes."""
        return float(np.mean(self.prompts)) + self.output / 2

    @property
    def tokens(self) -> int:
        """Tokens that are answered in all."""
        return len(self.prompts) * self.output

    def seconds(self, method: str | None, k: int, acceptance: Acceptance | None) -> float:
        """Return the mean seconds of all groups.

        Args:
            method: who drafts; None: nobody.
            k: draft length.
            acceptance: of the method; None without one.
        """
        priced, laws = ServingCosts(self.costs, method, k), round_laws(acceptance, k)
        limits = Limits(self.requests, max(Limits().max_num_batched_tokens, self.requests))
        times = -(-SIMULATED // len(self.prompts))
        total = 0.0
        for turn in range(times):
            for first in range(0, len(self.prompts), self.requests):
                prompts = np.array(self.prompts[first : first + self.requests])
                outputs = np.full(len(prompts), self.output)
                at_once = np.zeros(len(prompts))
                total += simulate(
                    prompts,
                    outputs,
                    priced,
                    laws,
                    limits,
                    arrivals=at_once,
                    seed=turn * len(self.prompts) + first,
                ).seconds
        return total / times


def whole_runs(
    report: Mapping[str, Any], cell: Mapping[str, Any], profile: Profile
) -> WholeRuns | None:
    """Return the prompts and answers of a benchmark's cell; None if they are not told or priced.

    Args:
        report: what `fairdraft bench run` wrote.
        cell: one of its cells.
        profile: of the same model on the same machine.

    Raises:
        ReadingError: the report is damaged.
    """
    lengths = _lengths(report).get(str(cell.get("dataset")))
    settings = report.get("settings")
    output = optional(part(report, "settings", RUN), "max_tokens", RUN) if settings else None
    requests = optional(cell, "concurrency", RUN)
    if not lengths or not output or not requests or profile.prefill is None:
        return None
    costs = StepCosts.of_profile(profile)
    return WholeRuns(costs, lengths, int(output), int(requests))


def notes_on(report: Mapping[str, Any], profile: Profile) -> tuple[str, ...]:
    """Return what predictions of a benchmark's cells leave out, each a sentence."""
    if not _lengths(report):
        return (NO_LENGTHS,)
    prompts = None if profile.prefill is None else StepCosts.of_profile(profile).prompts
    return (NO_PROMPTS,) if prompts is None else prompts.notes


def _lengths(report: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the tokens of each prompt by dataset; nothing where the run does not tell them."""
    told = report.get("prompt_tokens")
    if not isinstance(told, Mapping):
        return {}
    found = {}
    for name, lengths in told.items():
        if isinstance(lengths, list) and all(
            isinstance(n, int) and not isinstance(n, bool) and 0 < n < 10**7 for n in lengths
        ):
            found[str(name)] = tuple(lengths)
    return found
