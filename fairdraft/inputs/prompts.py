"""Prompts, from every form that callers write to checked text or token ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fairdraft.config import shown
from fairdraft.errors import RequestError
from fairdraft.inputs.forms import entries_of, items_of, unicode_of

_KEYS = ("prompt", "prompt_token_ids", "cache_salt")
_FORMS = 'text, token ids, {"prompt": …} or {"prompt_token_ids": […]}'


@dataclass(frozen=True)
class PromptInput:
    """One prompt, checked.

    Args:
        text: valid Unicode; None where only token ids were given.
        token_ids: at least one, each 0 or more, used in place of the text; None where only text was
            given.
        cache_salt: non-empty; cached prefixes and past text are shared only with prompts of the
            same salt.
    """

    text: str | None
    token_ids: tuple[int, ...] | None
    cache_salt: str | None = None


def parse_prompts(prompts: object) -> list[PromptInput]:
    """Return the prompts that a caller means, in order.

    Args:
        prompts: one prompt, or an iterable of prompts, perhaps empty. A prompt is a text,
            `{"prompt": text}`, `{"prompt_token_ids": […]}` (either with a `cache_salt`), or token
            ids: an iterable of whole numbers, numpy's included, or a one-dimensional array or
            tensor of them. What holds numbers alone is one prompt.

    Raises:
        RequestError: a prompt is none of these, is empty, or holds what is no text or token id.
    """
    if isinstance(prompts, (str, Mapping)) or _is_array(prompts):
        return [_parse_prompt("the prompt", prompts)]
    items = items_of("the prompt", prompts, f"give {_FORMS}, or a list of these")
    if items and all(_is_single(item) for item in items):
        return [_parse_prompt("the prompt", items)]
    return [_parse_prompt(f"prompt {i}", item) for i, item in enumerate(items)]


def _parse_prompt(name: str, prompt: object) -> PromptInput:
    if isinstance(prompt, str):
        return PromptInput(unicode_of(name, prompt), None)
    if not isinstance(prompt, Mapping):
        return PromptInput(None, _token_ids(name, prompt))
    given = entries_of(name, prompt, _KEYS, f"give {_FORMS}")
    text, token_ids, salt = (given.get(key) for key in _KEYS)
    if text is None and token_ids is None:
        raise RequestError(f"{name} is {shown(prompt)}, which holds none: give {_FORMS}")
    if text is not None and not isinstance(text, str):
        raise RequestError(f'{name} has "prompt": {shown(text)}, but it must be a text')
    if salt is not None and not (isinstance(salt, str) and salt):
        raise RequestError(
            f"cache_salt is {shown(salt)}, but must be a non-empty text, or left out"
        )
    return PromptInput(
        None if text is None else unicode_of(name, text),
        None if token_ids is None else _token_ids(f"prompt_token_ids of {name}", token_ids),
        None if salt is None else unicode_of("cache_salt", salt),
    )


def _token_ids(name: str, prompt: object) -> tuple[int, ...]:
    """Token ids of a prompt given as numbers; at least one."""
    remedy = f"give {_FORMS}"
    if _is_array(prompt):
        values = _plain(name, prompt)
        if prompt.ndim != 1:  # type: ignore[attr-defined]
            raise RequestError(
                f"{name} is an array of {prompt.ndim} dimensions, "  # type: ignore[attr-defined]
                "but token ids have one: give a list of one-dimensional arrays for several prompts"
            )
    else:
        values = items_of(name, prompt, remedy)
    if not values:
        raise RequestError(f"{name} is empty: give at least one token")
    token_ids = tuple(_plain(name, v) if getattr(v, "ndim", None) == 0 else v for v in values)
    for token in token_ids:
        if type(token) is not int:
            raise RequestError(
                f"{name} holds {shown(token)}, but token ids are whole numbers: {remedy}"
            )
    if min(token_ids) < 0:
        raise RequestError(
            f"{name} holds the token id {shown(min(token_ids))}, but token ids are 0 or more: "
            "encode the text with the model's own tokenizer"
        )
    return token_ids


def _is_array(value: object) -> bool:
    """Whether this is an array or tensor of numbers, of numpy, torch or their like."""
    kind = getattr(getattr(value, "dtype", None), "kind", "i")  # torch's dtypes name no kind
    return hasattr(value, "ndim") and hasattr(value, "tolist") and kind not in "OSTU"


def _is_single(value: object) -> bool:
    """Whether this can be a token id but no prompt: a number, or an array without dimensions."""
    if isinstance(value, (str, bytes)):  # numpy's texts have no dimensions either
        return False
    return getattr(value, "ndim", None) == 0 or not isinstance(value, Iterable)


def _plain(name: str, array: Any) -> Any:
    """An array's values as Python's own numbers, in lists."""
    try:
        return array.tolist()
    except Exception as error:  # another library's object: it may fail in any way it likes
        raise RequestError(
            f"{name} is an array whose values cannot be read ({error}): give a list of token ids"
        ) from error


def encode(tokenizer: Any, prompt: PromptInput) -> list[int]:
    """Return a prompt's token ids: those given, or its text's.

    Raises:
        RequestError: the tokenizer makes no token of the text.
    """
    if prompt.token_ids is not None:
        return list(prompt.token_ids)
    token_ids = list(tokenizer.encode(prompt.text))
    if not token_ids:
        raise RequestError("the prompt is empty: give at least one token")
    return token_ids
