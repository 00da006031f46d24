"""Several methods under one configuration: built, and what they need together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fairdraft.config import SpeculativeConfig, require
from fairdraft.proposers.base import Needs, Proposer
from fairdraft.proposers.registry import build_proposer

WHOLE = (
    "rejection_sample_method",
    "synthetic_acceptance_rates",
    "synthetic_acceptance_length",
    "num_speculative_tokens_per_batch_size",
)


def build_methods(methods: object, k: int) -> dict[str, Proposer]:
    """Return proposers by name; a method's second one is called "name#2".

    Args:
        methods: names, or mappings as for `speculative_config`.
        k: num_speculative_tokens of those that bring none, and the most any may bring.

    Raises:
        ConfigError: no methods, one that cannot be part of a hybrid, or bad keys of one.
    """
    require(
        isinstance(methods, Sequence) and not isinstance(methods, str) and len(methods) > 0,
        f"methods is {methods!r}, but must be a list of method names or of mappings such as "
        '["suffix", {"method": "draft_model", "num_draft_layers": 20}]',
    )
    proposers: dict[str, Proposer] = {}
    for entry in methods:  # type: ignore[attr-defined]
        config = _config_of(entry, k)
        proposer = build_proposer(config)
        assert proposer is not None
        same = sum(name.split("#")[0] == config.method for name in proposers)
        proposers[f"{config.method}#{same + 1}" if same else config.method] = proposer
    return proposers


def _config_of(entry: object, k: int) -> SpeculativeConfig:
    mapping = {"method": entry} if isinstance(entry, str) else entry
    require(isinstance(mapping, Mapping), f"an entry of methods is {entry!r}: name a method")
    assert isinstance(mapping, Mapping)
    config = SpeculativeConfig.of({"num_speculative_tokens": k, **mapping})
    assert config is not None
    require(
        config.method not in ("hybrid", "auto", "off"),
        f"{config.method!r} cannot be one of several methods: leave it out",
    )
    require(
        config.num_speculative_tokens <= k,
        f"num_speculative_tokens of {config.method!r} is {config.num_speculative_tokens}, "
        f"above the whole's {k}: raise the whole's",
    )
    for key in WHOLE:
        require(
            key not in mapping,
            f"{key} belongs beside methods, not inside: it holds for all drafts of an engine",
        )
    return config


def joint_needs(proposers: Iterable[Proposer]) -> Needs:
    """Return what proposers that run side by side need together."""
    needs = [proposer.needs for proposer in proposers]
    return Needs(
        tuple(sorted({layer for one in needs for layer in one.layers})),
        max(one.num_lookahead_tokens for one in needs),
        any(one.next_token for one in needs),
        any(one.rows for one in needs),
    )
