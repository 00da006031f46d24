"""Proposers by name, ours and third parties', through one entry-point group."""

from __future__ import annotations

import inspect
import json
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from fairdraft.config import (
    BY_MODEL,
    SpeculativeConfig,
    close_match,
    require,
    shown,
    without_needless,
)
from fairdraft.errors import CheckpointError, ConfigError, FairdraftError
from fairdraft.proposers.base import Proposer

GROUP = "fairdraft.proposers"


OFF = "off"
OWN = ("self", "num_speculative_tokens")  # parameters that no key of a method may name


def known_methods() -> dict[str, EntryPoint]:
    """Return every registered method by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def build_proposer(config: SpeculativeConfig) -> Proposer | None:
    """Make the proposer that a configuration names; None for "off".

    Raises:
        ConfigError: no such method, or a key that the method does not take; the message lists what
            there is.
        CheckpointError: the method's model cannot be read.
    """
    options = dict(config.options)
    if config.model is not None:
        options["model"] = config.model
    if config.method == OFF:
        options = without_needless(options, ())
        require(
            not options,
            f"method 'off' drafts nothing, but {shown(list(options))} is given: leave it out",
        )
        return None
    method = config.method
    if method == BY_MODEL:
        require(config.model is not None, f"method {BY_MODEL!r} needs the key 'model'")
        method = method_of_model(str(config.model))
    proposer_class = _load(method)
    options = _checked_options(method, proposer_class, options)
    try:
        proposer = proposer_class(config.num_speculative_tokens, **options)
    except FairdraftError:
        raise
    except Exception as error:  # a third party's code, on values that it did not expect
        raise ConfigError(
            f"method {method!r} cannot be set up with {shown(options)} "
            f"({type(error).__name__}: {error}): change its keys, or ask who wrote it"
        ) from error
    if not isinstance(proposer, Proposer):
        raise ConfigError(f"method {method!r} is no fairdraft.proposers.Proposer: subclass it")
    return proposer


def method_of_model(name: str) -> str:
    """Return the method that a drafter's config.json names; "draft_model" where it names none.

    Args:
        name: hub id, folder or file.
    """
    # Heads need torch, this room does not.
    from fairdraft.heads.files import HeadFile
    from fairdraft.heads.registry import kind_of

    try:
        config = json.loads(_config_file(name).read_text("utf-8"))
        return kind_of(HeadFile(name, config, {}))
    except (OSError, ValueError, AttributeError, CheckpointError):
        return "draft_model"  # which tells what is wrong with it, if anything is


def _config_file(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        return folder / "config.json"
    from fairdraft.models.hub import fetch

    return fetch(name, patterns=["config.json"]) / "config.json"


def _load(method: str) -> Any:
    """The class that is registered for a method."""
    methods = known_methods()
    if method not in methods:
        raise ConfigError(
            f"method {shown(method)} is unknown{close_match(method, methods)}: installed are "
            f"{', '.join(methods)}, {OFF}; a third-party one registers itself in the entry-point "
            f'group "{GROUP}"'
        )
    try:
        return methods[method].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"method {method!r} is registered as {methods[method].value!r}, but that cannot be "
            f"imported ({error}): install its package again"
        ) from error


def _checked_options(method: str, proposer_class: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The keys to make a proposer with: all that it needs, and none that it does not take."""
    parameters = list(inspect.signature(proposer_class).parameters.values())[1:]
    takes = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    grouped = getattr(proposer_class, "option_keys", None)  # what its **options takes
    takes += grouped or ()
    if grouped is not None or not any(p.kind is p.VAR_KEYWORD for p in parameters):
        options = without_needless(options, takes)
        unknown = next((name for name in options if name not in takes), None)
    else:
        unknown = next((name for name in options if name in OWN), None)
    if unknown is not None:
        raise ConfigError(
            f"unknown key {shown(unknown)} for method {method!r}{close_match(unknown, takes)}: "
            "besides method and num_speculative_tokens it takes "
            f"{', '.join(takes) or 'no keys of its own'}"
        )
    for parameter in parameters:
        named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if named and parameter.default is parameter.empty and parameter.name not in options:
            raise ConfigError(
                f"method {method!r} needs the key {parameter.name!r} in speculative_config"
            )
    return options
