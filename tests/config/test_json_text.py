"""JSON written by hand: what is doubtful in it is refused."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairdraft.config import parse_json
from fairdraft.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "which is not JSON"),
        ("{'method': 'ngram'}", "which is not JSON"),
        ('{"method": "ngram"', "which is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' twice"),
        ('{"a": NaN}', "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ('{"a": 1000000000000000000000000000000}', "a whole number of 31 digits"),
        (f"[{'9' * 5_000}]", "5000 digits"),
        ("[" * 40 + "]" * 40, "nested more than 32 deep"),
        ("[" * 100_000, "nested more than 32 deep"),
        ('{"a": ' * 40 + "1" + "}" * 40, "nested more than 32 deep"),
        ('["\\ud800"]', "not valid Unicode"),
        ('{"\udfff": 1}', "not valid Unicode"),
    ],
    ids=lambda text: text[:20],
)
def test_doubtful_json(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"--config .*" + re.escape(words)):
        parse_json(text, "--config")


def test_good_json() -> None:
    text = '{"method": "ngram", "a": [1, -2.5, null, true], "b": {"c": 999999999999999999}}'
    assert parse_json(text, "x") == {
        "method": "ngram",
        "a": [1, -2.5, None, True],
        "b": {"c": 999_999_999_999_999_999},
    }


@settings(deadline=None)
@given(st.text() | st.text(alphabet='{}[]":,01eE.-naN\\u'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_json(text, "x")
    except ConfigError as error:
        assert "x " in str(error)  # noqa: PT017
