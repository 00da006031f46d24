"""Conversations, from every form that callers write to what chat templates take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from fairdraft.config import close_match, shown
from fairdraft.errors import RequestError
from fairdraft.inputs.forms import entries_of, items_of, unicode_of

ROLES = ("system", "developer", "user", "assistant", "tool")

_KEYS = ("role", "content", "name")
_FORM = '{"role": "user", "content": "…"}'


class Message(TypedDict, total=False):
    """One turn of a conversation in the form that chat templates take; `name` may be missing."""

    role: str
    content: str
    name: str


def parse_conversations(messages: object) -> list[list[Message]]:
    """Return the conversations that a caller means, in order.

    Args:
        messages: one conversation, or an iterable of conversations, perhaps empty. A conversation
            is an iterable of messages: see `parse_conversation`.

    Raises:
        RequestError: as in `parse_conversation`.
    """
    items = items_of("messages", messages, f"give a list such as [{_FORM}]")
    if items and all(isinstance(item, Mapping) for item in items):
        return [parse_conversation(items)]
    return [parse_conversation(item) for item in items]


def parse_conversation(messages: object) -> list[Message]:
    """Return one conversation as chat templates take it.

    Args:
        messages: an iterable of mappings with `role`, one of `ROLES`, `content`, and perhaps
            `name`. The content is a text, or a list of parts `{"type": "text", "text": …}`, which
            are joined with line breaks, as in vLLM. Entries of None count as left out.

    Raises:
        RequestError: it is empty, a role or key is unknown, content is missing or is no text.
    """
    items = items_of("the conversation", messages, f"give a list such as [{_FORM}]")
    if not items:
        raise RequestError("the conversation is empty: give at least one message")
    return [_parse_message(f"message {i}", message) for i, message in enumerate(items)]


def _parse_message(name: str, message: object) -> Message:
    remedy = f"write it like {_FORM}"
    if not isinstance(message, Mapping):
        raise RequestError(f"{name} is {shown(message)}, but must be a mapping: {remedy}")
    given = entries_of(name, message, _KEYS, remedy)
    role = given.get("role")
    if not (isinstance(role, str) and role in ROLES):
        raise RequestError(
            f"{name} has the role {shown(role)}, but must have one of {', '.join(ROLES)}"
            f"{close_match(str(role), ROLES) if isinstance(role, str) else ''}"
        )
    parsed = Message(role=role, content=_content(name, given.get("content")))
    if "name" in given:
        if not isinstance(given["name"], str):
            raise RequestError(f"{name} has the name {shown(given['name'])}, but must have a text")
        parsed["name"] = unicode_of(name, given["name"])
    return parsed


def _content(name: str, content: object) -> str:
    """The text of a message's content."""
    if isinstance(content, str):
        return unicode_of(name, content)
    if not content or not isinstance(content, Sequence) or isinstance(content, (bytes, bytearray)):
        raise RequestError(
            f"{name} has the content {shown(content)}, but must have a text, or a list of parts "
            'such as {"type": "text", "text": "…"}'
        )
    return "\n".join(_part(f"part {i} of {name}", part) for i, part in enumerate(content))


def _part(name: str, part: object) -> str:
    """The text of one content part."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or kind is None:
        raise RequestError(
            f'{name} is {shown(part)}, but parts are written like {{"type": "text", "text": "…"}}'
        )
    if kind != "text":
        raise RequestError(
            f"{name} is of type {shown(kind)}, but the model reads text only: leave it out"
        )
    given = entries_of(name, part, ("type", "text"), "leave it out")
    if not isinstance(given.get("text"), str):
        raise RequestError(f"{name} has the text {shown(given.get('text'))}, which is none")
    return unicode_of(name, given["text"])


def encode_chat(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Return a conversation's token ids through the chat template, ready for the answer.

    Args:
        tokenizer: of transformers.
        messages: as `parse_conversation` returns them.

    Raises:
        RequestError: the model has no chat template, or its template refuses the conversation.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise RequestError("the model has no chat template: use generate() with plain text")
    try:
        encoded = tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, return_dict=True
        )
    except Exception as error:  # a template is a program that came with the checkpoint
        raise RequestError(
            f"the model's chat template refuses the conversation ({error}): change the roles or "
            "their order, or use generate() with plain text"
        ) from error
    token_ids = list(encoded["input_ids"])
    if not token_ids:
        raise RequestError("the chat template makes no token of the conversation: give it content")
    return token_ids
