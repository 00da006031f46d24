"""Conversations as chat templates take them, or a reason why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from fairdraft.errors import FairdraftError, RequestError
from fairdraft.inputs import encode_chat, parse_conversation, parse_conversations

USER = {"role": "user", "content": "hello"}
Tiny = Callable[[str], Path]


@pytest.mark.parametrize("around", [list, tuple, iter])
def test_one_conversation_or_several(around: Any) -> None:
    assert parse_conversations(around([USER])) == [[USER]]
    assert parse_conversations(around([[USER], (USER, USER)])) == [[USER], [USER, USER]]
    assert parse_conversations(around([])) == []


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    parsed = parse_conversation([{"role": "user", "content": parts}])
    assert parsed == [{"role": "user", "content": "one\ntwo"}]


def test_none_is_left_out_and_names_are_kept() -> None:
    pasted = {"role": "assistant", "content": "", "refusal": None, "tool_calls": None}
    assert parse_conversation([pasted]) == [{"role": "assistant", "content": ""}]
    named = {**USER, "name": "Ada"}
    assert parse_conversation([named]) == [named]


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_known_roles(role: str) -> None:
    assert parse_conversation([{"role": role, "content": "a"}])[0]["role"] == role


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (None, "messages is None: give a list"),
        ("hello", "messages is 'hello', a str"),
        (USER, "a dict: give a list"),
        ([[]], "the conversation is empty"),
        ([None], "the conversation is None"),
        ([USER, None], "the conversation is {"),
        ([[USER, "hello"]], "message 1 is 'hello'"),
        ([{"content": "a"}], "the role None"),
        ([{"role": "usr", "content": "a"}], "one of system, developer, user, assistant, tool (did"),
        ([{"role": ["user"], "content": "a"}], "the role ['user']"),
        ([{"role": "user"}], "message 0 has the content None"),
        ([{"role": "assistant", "content": None}], "message 0 has the content None"),
        ([{"role": "user", "contents": "a"}], "the key 'contents' (did you mean 'content'?)"),
        ([{**USER, "tool_calls": [{}]}], "the key 'tool_calls'"),
        ([{**USER, "name": 5}], "the name 5"),
        ([{"role": "user", "content": 5}], "the content 5"),
        ([{"role": "user", "content": b"a"}], "the content b'a'"),
        ([{"role": "user", "content": []}], "the content []"),
        ([{"role": "user", "content": ["a"]}], "part 0 of message 0 is 'a'"),
        ([{"role": "user", "content": [{"text": "a"}]}], "parts are written like"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "type 'image_url', but the model reads text only",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "the text None"),
        ([{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}], "the key 'x'"),
        ([{"role": "user", "content": "\udfff"}], "message 0 is not valid Unicode"),
    ],
)
def test_what_is_no_conversation_is_refused(messages: Any, words: str) -> None:
    with pytest.raises(RequestError, match=re.escape(words)):
        parse_conversations(messages)


values = st.none() | st.integers() | st.text(max_size=4) | st.binary(max_size=4)
parts = st.lists(st.dictionaries(st.sampled_from(["type", "text"]), values | st.just("text")))
message = st.dictionaries(
    st.sampled_from(["role", "content", "name"]) | st.text(max_size=4),
    values | parts | st.sampled_from(["user", "assistant"]),
)
conversation = st.lists(message | values, max_size=3)


@settings(deadline=None, max_examples=300)
@given(conversation | st.lists(conversation, max_size=3) | values | message)
def test_whatever_comes_is_parsed_or_refused(messages: Any) -> None:
    try:
        conversations = parse_conversations(messages)
    except FairdraftError:
        return
    for each in conversations:
        assert each
        for turn in each:
            assert turn["role"]
            turn["content"].encode()


def test_a_template_that_raises_is_told(tiny: Tiny) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(RequestError, match=r"roles must alternate.*change the roles"):
        encode_chat(tokenizer, [USER])  # type: ignore[list-item]
    tokenizer.chat_template = "{% for m in messages %}{{ m.content + 1 }}{% endfor %}"
    with pytest.raises(RequestError, match="refuses the conversation"):
        encode_chat(tokenizer, [USER])  # type: ignore[list-item]
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert encode_chat(tokenizer, parse_conversation([USER])) == tokenizer.encode("hello")
    tokenizer.chat_template = None
    with pytest.raises(RequestError, match="no chat template"):
        encode_chat(tokenizer, [USER])  # type: ignore[list-item]
