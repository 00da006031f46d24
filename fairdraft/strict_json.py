"""Read JSON that people write: no key twice, nothing too deep, errors that name the place."""

from __future__ import annotations

import json
from typing import Any

from fairdraft.errors import ConfigError


def parse_json(text: str, what: str, remedy: str) -> Any:
    """Return what a JSON text says.

    Args:
        text: the text.
        what: what it is, to begin an error with, such as "--speculative-config".
        remedy: what to do about an error.

    Raises:
        ConfigError: it is no JSON, says a key twice, holds NaN or an infinity, or is nested or
            long beyond what can be read.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except _DoubledKeyError as error:
        raise ConfigError(f"{what} says {error.args[0]!r} twice: keep one of them") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{what} is {_shortened(text)!r}, which is not JSON ({error}): {remedy}"
        ) from None


class _DoubledKeyError(Exception):
    """An object says a key twice; the key is the argument."""


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DoubledKeyError(key)
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _shortened(text: str) -> str:
    """A text in full, or its beginning."""
    return text if len(text) <= 80 else text[:77] + "…"
