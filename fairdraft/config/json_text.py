"""JSON that users write by hand: what is doubtful in it is refused instead of guessed."""

from __future__ import annotations

import json
from typing import Any

from fairdraft.config.checks import require_unicode, shown
from fairdraft.errors import ConfigError

MAX_DEPTH = 32
MAX_DIGITS = 18  # such numbers fit 64 bits


def parse_json(text: str, name: str) -> Any:
    """Return what a JSON text says.

    Args:
        text: perhaps not JSON at all.
        name: of the option or file it came from, for messages.

    Raises:
        ConfigError: it is no JSON, a key stands twice, or it holds NaN, an infinity, a whole number
            of more than 18 digits, text that is not valid Unicode, or lists in lists more than 32
            deep.
    """

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in entries:
            if key in found:
                raise ConfigError(f"{name} has the key {shown(key)} twice: leave one out")
            found[key] = value
        return found

    def number(digits: str) -> int:
        count = len(digits.lstrip("-"))
        if count > MAX_DIGITS:
            raise ConfigError(
                f"{name} holds a whole number of {count} digits, but they may have {MAX_DIGITS}: "
                "write a smaller one"
            )
        return int(digits)

    def constant(word: str) -> float:
        raise ConfigError(f"{name} holds {word}, which is no JSON: write a number, or null")

    try:
        parsed = json.loads(
            text, object_pairs_hook=pairs, parse_int=number, parse_constant=constant
        )
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{name} is {shown(text)}, which is not JSON ({error}): write it like "
            '{"method": "ngram", "num_speculative_tokens": 4}'
        ) from None
    except RecursionError:
        raise ConfigError(_too_deep(name)) from None
    _check(parsed, name)
    return parsed


def _check(parsed: Any, name: str) -> None:
    """Refuse what is nested too deep, and text that cannot be written in UTF-8."""
    left = [(parsed, 0)]
    while left:
        value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise ConfigError(_too_deep(name))
        if isinstance(value, dict):
            left.extend((each, depth + 1) for entry in value.items() for each in entry)
        elif isinstance(value, list):
            left.extend((each, depth + 1) for each in value)
        elif isinstance(value, str):
            require_unicode(name, value)


def _too_deep(name: str) -> str:
    return f"{name} is nested more than {MAX_DEPTH} deep: leave some brackets out"
