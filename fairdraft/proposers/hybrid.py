"""Several methods at once: per request and step the one that promises most for its cost drafts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairdraft.economics.autopilot.best_method import BestMethod
from fairdraft.economics.autopilot.pilot import Autopilot
from fairdraft.proposers.methods import build_methods, joint_needs
from fairdraft.proposers.piloted import PilotedProposer

DEFAULT_METHODS = ("suffix", "ngram")


class HybridProposer(PilotedProposer):
    """Chooses for each request the draft with the highest (1 + expected accepted) / seconds.

    Lookups (`Proposer.is_lookup`) all draft and the best is kept. A drafter is chosen by its record
    alone, before it drafts; one that was left out for long gets a turn. Drafts have their full
    length, and may be trees. Seconds are a request's share of a step, and for a drafter its share
    of the drafting, as measured here.

    Args:
        num_speculative_tokens: longest draft.
        methods: names, or mappings as for `speculative_config`, each with its own keys and perhaps
            a smaller num_speculative_tokens; the first wins ties. None takes suffix and ngram.

    Raises:
        ConfigError: no methods, one that cannot be part of a hybrid, or bad keys of one.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        methods: Sequence[str | Mapping[str, Any]] | None = None,
    ) -> None:
        named = DEFAULT_METHODS if methods is None else methods
        super().__init__(num_speculative_tokens, build_methods(named, num_speculative_tokens))
        each = self.proposers.values()
        self.drafts_trees = any(proposer.drafts_trees for proposer in each)
        self.is_lookup = all(proposer.is_lookup for proposer in each)

    def bind(self, target: Any) -> None:
        """Bind every method; what any of them needs, the hybrid needs."""
        for proposer in self.proposers.values():
            proposer.bind(target)
        self.needs = joint_needs(self.proposers.values())
        chooser = BestMethod(list(self.proposers), self.lookups, self.num_speculative_tokens)
        self.autopilot = Autopilot(chooser, self.drafters, self.clock)
