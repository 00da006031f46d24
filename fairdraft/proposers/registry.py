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


def build_proposer(config: SpeculativeConfig) -> Proposer | None:
    """The proposer that a configuration names; None for "off".

    Raises:
        ConfigError: no such method, or a key that the method does not take; the message lists what
            there is.
    """
    methods = known_methods()
    if config.method == "off":
        return None
    if config.method not in methods:
        raise ConfigError(
            f"method {config.method!r} is unknown: installed are {', '.join(methods)}, off; a "
            f'third-party one registers itself in the entry-point group "{GROUP}"'
        )
    try:
        proposer_class = methods[config.method].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"method {config.method!r} is registered as {methods[config.method].value!r}, but that "
            f"cannot be imported ({error}): install its package again"
        ) from error
    options = dict(config.options)
    if config.model is not None:
        options["model"] = config.model
    parameters = list(inspect.signature(proposer_class).parameters.values())[1:]
    takes = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    grouped = getattr(proposer_class, "option_keys", None)  # what its **options takes
    takes += grouped or ()
    anything = grouped is None and any(p.kind is p.VAR_KEYWORD for p in parameters)
    for parameter in parameters:
        named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if named and parameter.default is parameter.empty and parameter.name not in options:
            raise ConfigError(
                f"method {config.method!r} needs the key {parameter.name!r} in speculative_config"
            )
    for name in options:
        if name not in takes and not anything:
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
