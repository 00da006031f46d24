"""The rules that an engine verifies by, by name: each says what it takes and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fairdraft.draft import Draft, Verdict
from fairdraft.verification.base import Draws, RoundDraws, Target, TargetLaws
from fairdraft.verification.block import block
from fairdraft.verification.match import match
from fairdraft.verification.standard import standard
from fairdraft.verification.synthetic import synthetic


@dataclass(frozen=True)
class Rule:
    """How an engine decides which drafts stand.

    Drafts that were chosen, not drawn, and all drafts under greedy sampling are matched with the
    target's own tokens under every lossless rule: on and off then say the same.

    Args:
        name: as `rejection_sample_method` names it.
        verify_drawn: verifies a draft by the laws its tokens were drawn from; None matches it too.
        takes_trees: whether drafts may be trees.
        shares_noise: whether drafter and target draw with the same noise, so that the text depends
            on the seed alone.
        lossless: whether the text is the target's.
    """

    name: str
    verify_drawn: Callable[[TargetLaws, Draft, Draws], Verdict] | None
    takes_trees: bool = True
    shares_noise: bool = False
    lossless: bool = True

    def matches(self, draft: Draft, greedy: bool) -> bool:
        """Whether a draft is matched with the target's own tokens, not judged by its laws.

        Args:
            draft: chosen or drawn.
            greedy: whether the request takes the likeliest token instead of a draw.
        """
        return self.verify_drawn is None or draft.probs is None or greedy

    def verify(self, target: Target, draft: Draft, draws: RoundDraws, greedy: bool) -> Verdict:
        """Return which nodes of a draft stand, and the token after them.

        Args:
            target: 1 + len(draft) rows.
            draft: a chain, or a tree where the rule takes them; perhaps empty.
            draws: this round's decisions.
            greedy: whether the request takes the likeliest token instead of a draw.
        """
        if self.verify_drawn is None or self.matches(draft, greedy):
            return match(draft, target.token)
        return self.verify_drawn(target, draft, draws)


@dataclass(frozen=True)
class SyntheticRule(Rule):
    """Acceptance at given rates, to measure what steps cost; see `synthetic`.

    Args:
        acceptance_rates: entry i is the share of rounds in which the first i + 1 tokens stand.
    """

    lossless: bool = False
    acceptance_rates: tuple[float, ...] = ()

    def verify(self, target: Target, draft: Draft, draws: RoundDraws, greedy: bool) -> Verdict:
        """Return as many nodes as the rates say; arguments as in `Rule.verify`."""
        return synthetic(draft, self.acceptance_rates, draws.uniform(), target.token)


STANDARD = Rule("standard", standard)

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        STANDARD,
        Rule("block", block, takes_trees=False),
        Rule("coupled", None, shares_noise=True),
        SyntheticRule("synthetic", None),
    )
}
"""Every rule by name."""


def rule_named(name: str, acceptance_rates: tuple[float, ...] = ()) -> Rule:
    """Return a rule.

    Args:
        name: a key of `RULES`.
        acceptance_rates: for the rule that accepts by decree; others have no use for them.
    """
    rule = RULES[name]
    return (
        replace(rule, acceptance_rates=acceptance_rates)
        if isinstance(rule, SyntheticRule)
        else rule
    )
