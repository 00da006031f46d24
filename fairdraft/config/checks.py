"""What checks a value: limits of a field, and sentences that name value, limit and remedy."""

from __future__ import annotations

import difflib
import functools
import logging
import reprlib
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, TypeVar

from fairdraft.errors import ConfigError

T = TypeVar("T")

MAX_SHOWN = 240  # characters of a value in a message


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def require_int(name: str, value: object, least: int, remedy: str, most: int | None = None) -> None:
    """Raise `ConfigError` unless `value` is a whole number of at least `least`, at most `most`.

    Whole numbers of numpy are whole numbers; True and False are none.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    # The sentence is made only when it is needed: requests are checked all the time.
    if not (whole and value >= least and (most is None or value <= most)):  # type: ignore[operator]
        raise ConfigError(refusal(name, value, whole_form(least, most), remedy))


def require_bool(name: str, value: object) -> None:
    """Raise `ConfigError` unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(refusal(name, value, "True or False", ""))


def require_number(name: str, value: object, low: float, high: float, remedy: str) -> None:
    """Raise `ConfigError` unless `low <= value <= high`; NaN is not."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and low <= value <= high):  # type: ignore[operator]
        raise ConfigError(refusal(name, value, number_form(low, high), remedy))


def require_unicode(name: str, text: str) -> None:
    """Raise `ConfigError` if a text holds half a surrogate pair: it cannot be written in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{name} holds {shown(text)}, which is not valid Unicode text (a lone surrogate): "
            "decode the bytes it came from with the right encoding"
        ) from None


def refusal(name: str, value: object, form: str, remedy: str) -> str:
    """Return the sentence that refuses a value."""
    return f"{name} is {shown(value)}, but must be {form}" + (f": {remedy}" if remedy else "")


def whole_form(least: int, most: int | None = None) -> str:
    """Return the words for a range of whole numbers."""
    if most is None:
        return f"a whole number of at least {least}"
    return f"a whole number from {least} to {most}"


def number_form(low: float, high: float, above: bool = False) -> str:
    """Return the words for a range of numbers; `above` leaves the lower end out."""
    return (
        f"a number above {low:g}, up to {high:g}" if above else f"a number from {low:g} to {high:g}"
    )


class _Shortened(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to print integers of more than some thousand digits.
        return super().repr_int(x, level) if x.bit_length() < 1_000 else "a very large integer"


_SHORTENED = _Shortened()
_SHORTENED.maxlist = _SHORTENED.maxtuple = _SHORTENED.maxdict = 8
_SHORTENED.maxstring = _SHORTENED.maxlong = _SHORTENED.maxother = 80


def shown(value: object) -> str:
    """Return the `repr` of any value, broken ones included, cut to what fits a message."""
    text = _SHORTENED.repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN // 2]}…{text[-MAX_SHOWN // 4 :]}"


def close_match(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean …?)" where `name` resembles a known name, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown(kind: str, name: object, known: Iterable[str], owner: str) -> str:
    """Return the sentence that refuses an unknown name: what resembles it, what there is."""
    listed = list(known)
    resembling = close_match(str(name), listed)
    return f"unknown {kind} {shown(name)}{resembling}: {owner} {', '.join(listed)}"


def plain(value: T) -> T | Any:
    """Return numpy's numbers, and their like, as Python's own; everything else as it is."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


@functools.cache
def tell_once(message: str) -> None:
    """Log a warning, once in the life of the process."""
    logging.getLogger("fairdraft").warning(message)
