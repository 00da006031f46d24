"""JSON that people write is read without forgiving doubled keys and the like."""

from __future__ import annotations

import pytest

from fairdraft.errors import ConfigError
from fairdraft.strict_json import parse_json


def test_what_is_json_comes_through() -> None:
    assert parse_json('{"a": [1, null, {"a": 2}]}', "it", "fix it") == {"a": [1, None, {"a": 2}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"k": 1, "k": 2}', "^it says 'k' twice: keep one"),
        ('{"a": {"k": 1, "k": 1}}', "^it says 'k' twice"),
        ("{", r"^it is '\{', which is not JSON .*: fix it$"),
        ("NaN", "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        ("[" * 100_000, r"^it is '\[+…', which is not JSON .*: fix it$"),
        ("1" * 5000, "which is not JSON"),
    ],
)
def test_what_is_not_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_json(text, "it", "fix it")
