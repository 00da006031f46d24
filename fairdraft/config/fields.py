"""Dataclasses whose fields carry their limits: pydantic checks them and writes their JSON schema.

A limit stands in a field's annotation and nowhere else. Wrong values raise `ConfigError`, never
pydantic's own error, unless pydantic itself was asked to validate (as a server does).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar, dataclass_transform, get_args, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, MinLen
from pydantic import AfterValidator, ConfigDict, Strict, ValidationError, WithJsonSchema
from pydantic.dataclasses import dataclass as pydantic_dataclass

from fairdraft.config.checks import number_form, plain, refusal, shown, unknown, whole_form
from fairdraft.errors import ConfigError, FairdraftError

C = TypeVar("C")

MISPLACED = ("multiple_argument_values", "unexpected_positional_argument")


class Limit(Protocol):
    """What a field's value must be, in words."""

    @property
    def form(self) -> str:
        """What a good value is: "a whole number of at least 1"."""

    @property
    def remedy(self) -> str:
        """What to do about a bad one."""


@dataclass(frozen=True)
class Whole(GroupedMetadata):
    """Whole numbers from `least` to `most`, if there is one; True and False are none."""

    least: int
    remedy: str
    most: int | None = None

    def __iter__(self) -> Iterator[object]:
        yield Strict()
        yield Ge(self.least)
        if self.most is not None:
            yield Le(self.most)

    @property
    def form(self) -> str:
        """The range in words."""
        return whole_form(self.least, self.most)


@dataclass(frozen=True)
class Number(GroupedMetadata):
    """Numbers from `low` to `high`; `above` leaves the lower end out."""

    low: float
    high: float
    remedy: str
    above: bool = False

    def __iter__(self) -> Iterator[object]:
        yield Strict()
        yield Gt(self.low) if self.above else Ge(self.low)
        yield Le(self.high)

    @property
    def form(self) -> str:
        """The range in words."""
        return number_form(self.low, self.high, self.above)


@dataclass(frozen=True)
class Flag(GroupedMetadata):
    """True or False."""

    form: str = "True or False"
    remedy: str = ""

    def __iter__(self) -> Iterator[object]:
        yield Strict()


@dataclass(frozen=True)
class Text(GroupedMetadata):
    """A text that is not empty."""

    form: str
    remedy: str = ""

    def __iter__(self) -> Iterator[object]:
        yield Strict()
        yield MinLen(1)


@dataclass(frozen=True)
class OneOf(GroupedMetadata):
    """One of a few words."""

    words: tuple[str, ...]
    remedy: str = ""

    def __iter__(self) -> Iterator[object]:
        yield Strict()
        yield AfterValidator(self._check)
        yield WithJsonSchema({"type": "string", "enum": list(self.words)})

    def _check(self, value: str) -> str:
        if value not in self.words:
            raise ValueError(self.form)
        return value

    @property
    def form(self) -> str:
        """The words."""
        return f"one of {', '.join(self.words)}"


@dataclass_transform(frozen_default=True)
def checked(cls: type[C]) -> type[C]:
    """Make a frozen dataclass of a class whose annotations carry limits.

    Constructing it checks every field, then runs `__post_init__`. Numbers of numpy become Python's.
    The texts beneath the fields become descriptions in `pydantic.TypeAdapter(cls).json_schema()`.

    Raises:
        ConfigError: on construction, for the first value that is out of its limits.
    """
    made = pydantic_dataclass(
        frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True)
    )(cls)
    validate = made.__init__

    @functools.wraps(validate)
    def construct(self: Any, /, *args: Any, **values: Any) -> None:
        try:
            validate(self, *args, **values)
            return
        except ValidationError as error:
            if not _holds_other_numbers((*args, *values.values())):
                raise _told(made, error) from None
        try:
            validate(self, *map(plain, args), **{name: plain(v) for name, v in values.items()})
        except ValidationError as error:
            raise _told(made, error) from None

    made.__init__ = construct  # type: ignore[assignment,method-assign]
    return made  # type: ignore[return-value]


def _holds_other_numbers(values: tuple[Any, ...]) -> bool:
    return any(plain(value) is not value for value in values)


def _told(cls: Any, error: ValidationError) -> FairdraftError:
    """The first thing wrong, as our own error."""
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] in MISPLACED), errors[0])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, FairdraftError):  # of `__post_init__`, with a sentence of its own
        return cause
    name = str(first["loc"][0]) if first["loc"] else cls.__name__
    known = [f.name for f in fields(cls)]
    if first["type"] == "unexpected_keyword_argument":
        return ConfigError(unknown("key", name, known, f"{cls.__name__} takes"))
    if first["type"] == "multiple_argument_values":
        return ConfigError(f"{name} is given twice, by place and by name: leave one out")
    if first["type"] == "unexpected_positional_argument":
        return ConfigError(f"{cls.__name__} takes {len(known)} values, but more are given by place")
    limit = _limits(cls).get(name)
    if first["type"].startswith("missing") and limit is not None:
        return ConfigError(f"{name} is missing, but must be {limit.form}")
    if limit is None:
        return ConfigError(f"{name} is {shown(first['input'])}: {first['msg']}")
    return ConfigError(refusal(name, first["input"], limit.form, limit.remedy))


@functools.cache
def _limits(cls: type[Any]) -> dict[str, Limit]:
    """The limit of each field that has one."""
    hints = get_type_hints(cls, include_extras=True)
    found = {name: _limit(hint) for name, hint in hints.items()}
    return {name: limit for name, limit in found.items() if limit is not None}


def _limit(hint: Any) -> Limit | None:
    for part in (*getattr(hint, "__metadata__", ()), *get_args(hint)):
        if isinstance(part, (Whole, Number, Flag, Text, OneOf)):
            return part
        if (nested := _limit(part)) is not None:
            return nested
    return None
