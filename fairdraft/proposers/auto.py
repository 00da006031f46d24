"""Drafts as long as they pay, by the method that promises most, or none: leave it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairdraft.config import require
from fairdraft.economics.autopilot.best_lengths import BestLengths
from fairdraft.economics.autopilot.pilot import Autopilot
from fairdraft.economics.costs.cost_surface import CostSurface
from fairdraft.economics.costs.live_costs import LiveCosts
from fairdraft.economics.costs.profile import Profile
from fairdraft.models import ModelRunner
from fairdraft.proposers.allocate_compiled import allocate_compiled
from fairdraft.proposers.calibration import calibrate, guessed_drafter
from fairdraft.proposers.methods import build_methods, joint_needs
from fairdraft.proposers.piloted import PilotedProposer
from fairdraft.telemetry.environment import benchmark_environment

LOOKUP = "suffix"  # the method that fits any target
HEADS = ("eagle3",)  # beside it, if one comes with fairdraft for the target


class AutoProposer(PilotedProposer):
    """Chooses per request and step who drafts, and how much, 0 included.

    See `economics.autopilot.best_lengths` for how it decides. Costs come from a profile, or from a
    second of measuring when the model is loaded, and are corrected by every step that runs.
    Drafters that do not pay are tried again now and then.

    Args:
        num_speculative_tokens: longest draft.
        methods: as in `HybridProposer`, chains only; None takes suffix, and the EAGLE-3 head that
            comes with fairdraft for the target, if there is one.
        profile: file that `fairdraft profile` wrote on this machine; None measures at start.

    Raises:
        ConfigError: no methods, one that cannot be part of it, bad keys of one, or a profile that
            cannot be read, or is of another machine or model.
    """

    def __init__(
        self,
        num_speculative_tokens: int,
        methods: Sequence[str | Mapping[str, Any]] | None = None,
        profile: str | None = None,
    ) -> None:
        require(
            profile is None or isinstance(profile, str),
            f"profile is {profile!r}, but must be the path of a file that `fairdraft profile` "
            "wrote: leave it out to measure at start",
        )
        named = [LOOKUP] if methods is None else methods
        super().__init__(num_speculative_tokens, build_methods(named, num_speculative_tokens))
        self.profile = None if profile is None else Profile.load(profile)
        self._given = methods is not None
        for name, proposer in self.proposers.items():
            require(
                not proposer.drafts_trees,
                f"{name!r} drafts trees, but auto chooses lengths of chains: leave its tree keys "
                "out, or use method 'hybrid'",
            )

    def bind(self, target: Any) -> None:
        """Bind every method and learn what steps cost."""
        from fairdraft.heads import shipped_head

        k = self.num_speculative_tokens
        if not self._given:
            name = getattr(target, "name", "")
            found = [head for head in HEADS if shipped_head(name, head) is not None]
            self.proposers = build_methods([LOOKUP, *found], k)
        for proposer in self.proposers.values():
            proposer.bind(target)
        self.needs = joint_needs(self.proposers.values())
        step = calibrate(target, k) if self.profile is None else self._profiled(target)
        drafting = {name: self._drafter_costs(name, step) for name in self.drafters}
        costs = LiveCosts(step, drafting, k)
        chooser = BestLengths(costs, self.lookups, list(drafting), k, allocate_compiled)
        self.autopilot = Autopilot(chooser, self.drafters, self.clock)

    def _profiled(self, target: Any) -> CostSurface:
        """Return the profile's steps, if it is of this machine and this model."""
        profile = self.profile
        assert profile is not None
        profile.require_hardware(benchmark_environment())
        name, dtype = getattr(target, "name", ""), ""
        if isinstance(target, ModelRunner):
            dtype = str(target.model.dtype).removeprefix("torch.")
        for what, theirs, ours in (
            ("model", profile.model, name),
            ("dtype", profile.dtype, dtype),
        ):
            require(
                not ours or theirs == ours,
                f"the profile is of {what} {theirs!r}, but {ours!r} runs: profile that, or leave "
                "the key out to measure at start",
            )
        return profile.step

    def _drafter_costs(self, name: str, step: CostSurface) -> CostSurface:
        """Return a drafter's costs: profiled, or guessed until it drafts."""
        method = name.split("#")[0]
        if self.profile is None or method not in self.profile.drafters:
            return guessed_drafter(step, self.num_speculative_tokens)
        return self.profile.drafter(method)
