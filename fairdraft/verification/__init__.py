"""Which drafts stand: pure functions of (laws, draft, draws) → verdict, and rules by name."""

from fairdraft.verification.base import Draws, RoundDraws, Target, TargetLaws
from fairdraft.verification.block import block
from fairdraft.verification.match import match
from fairdraft.verification.rules import RULES, STANDARD, Rule, SyntheticRule, rule_named
from fairdraft.verification.standard import standard
from fairdraft.verification.synthetic import synthetic

__all__ = [
    "RULES",
    "STANDARD",
    "Draws",
    "RoundDraws",
    "Rule",
    "SyntheticRule",
    "Target",
    "TargetLaws",
    "block",
    "match",
    "rule_named",
    "standard",
    "synthetic",
]
