"""Checks that prompts and conversations share: lists, mappings, Unicode text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from fairdraft.config import close_match, shown
from fairdraft.errors import RequestError


def items_of(name: str, value: object, remedy: str) -> list[Any]:
    """The items of an iterable that has an order and is no text or mapping."""
    if isinstance(value, (str, bytes, bytearray, memoryview, Mapping, Set)):
        raise RequestError(f"{name} is {shown(value)}, a {type(value).__name__}: {remedy}")
    try:
        items = iter(value)  # type: ignore[call-overload]
    except TypeError:
        raise RequestError(f"{name} is {shown(value)}: {remedy}") from None
    return list(items)


def entries_of(
    name: str, mapping: Mapping[Any, Any], known: Sequence[str], remedy: str
) -> dict[str, Any]:
    """The entries of a mapping that are not None, all under known keys."""
    for key in mapping:
        if key not in known and mapping[key] is not None:
            raise RequestError(
                f"{name} has the key {shown(key)}{close_match(str(key), known)}, but the known "
                f"ones are {', '.join(known)}: {remedy}"
            )
    return {key: value for key, value in mapping.items() if value is not None and key in known}


def unicode_of(name: str, text: str) -> str:
    """The text, if it can be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"{name} is not valid Unicode text (it holds a lone surrogate): decode the bytes it "
            "came from with the right encoding"
        ) from None
    return str(text)
