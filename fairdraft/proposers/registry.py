"""Proposers by name, ours and third parties', through one entry-point group."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points

from fairdraft.config import SpeculativeConfig
from fairdraft.errors import ConfigError
from fairdraft.proposers.base import Proposer

GROUP = "fairdraft.proposers"


def known_methods() -> dict[str, EntryPoint]:
    """Every registered method by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def build_proposer(config: SpeculativeConfig) -> Proposer:
    """The proposer that a configuration names.

    Raises:
        ConfigError: no such method, or a key that the method does not take; the message lists what
            there is.
    """
    methods = known_methods()
    if config.method not in methods:
        raise ConfigError(
            f"method {config.method!r} is unknown: installed are {', '.join(methods)}; a "
            f'third-party one registers itself in the entry-point group "{GROUP}"'
        )
    proposer_class = methods[config.method].load()
    options = dict(config.options)
    if config.model is not None:
        options["model"] = config.model
    takes = list(inspect.signature(proposer_class).parameters)[1:]
    for name in options:
        if name not in takes:
            listed = ", ".join(takes) or "no keys of its own"
            raise ConfigError(
                f"unknown key {name!r} for method {config.method!r}: besides method and "
                f"num_speculative_tokens it takes {listed}"
            )
    proposer = proposer_class(config.num_speculative_tokens, **options)
    if not isinstance(proposer, Proposer):
        raise ConfigError(
            f"method {config.method!r} is no fairdraft.proposers.Proposer: subclass it"
        )
    return proposer
